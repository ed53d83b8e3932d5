// What is seen of a call: the way it goes, what was carried, a file, and how it came about.

import { size } from './call-path.js';

/** Lines of what the other side can make more of without end. */
const LINES = 200;

function append(list, line) {
  list.append(line);
  if (list.childElementCount > LINES) list.firstElementChild.remove();
}

/** The way that the packets go, drawn, and said in a sentence. */
export class PathCard {
  constructor(ctx) {
    this.ctx = ctx;
    const { h } = ctx;
    this.drawn = h('ol', { class: 'path', id: 'call-path' });
    this.words = h('p', { class: 'note', id: 'call-verdict', role: 'status' });
    this.facts = h('dl', { class: 'facts' });
    this.node = h('section', { class: 'card' }, h('h2', { say: 'path.title' }), this.words, this.drawn, this.facts);
    this.reset(false);
  }

  reset(relayOnly) {
    this.shown = undefined;
    this.relayOnly = relayOnly;
    this.#say('', 'path.none');
    this.drawn.replaceChildren();
    this.facts.replaceChildren();
  }

  #say(colour, key, values) {
    this.words.className = `note ${colour}`;
    this.ctx.say(this.words, key, values);
  }

  show(seen) {
    if (!seen.way) return;
    const { h } = this.ctx;
    const { way, local, remote } = seen;
    const rtt = seen.rtt === undefined ? '–' : `${(seen.rtt * 1000).toFixed(1)} ms`;
    const shown = JSON.stringify([way, local, remote]);
    if (shown !== this.shown) {
      this.shown = shown;
      const leg = (local.leg ?? local.protocol ?? '').toUpperCase();
      const key = `path.${way}${this.relayOnly && way !== 'direct' ? '-only' : ''}`;
      this.#say(way === 'direct' ? 'good' : 'info', key, { leg });
      this.drawn.replaceChildren(...this.#hops(seen, leg));
      this.rtt = h('dd', {});
      const line = ({ type, protocol, place }) => [h('span', { class: 'chip', say: `type.${type}` }), ' ',
        h('span', { class: 'address' }, `${protocol ?? ''} ${place ?? ''}`)];
      this.facts.replaceChildren(
        h('dt', { say: 'path.local' }), h('dd', {}, ...line(local)),
        h('dt', { say: 'path.remote' }), h('dd', {}, ...line(remote)),
        h('dt', { say: 'path.rtt' }), this.rtt,
        ...(seen.cipher ? [h('dt', { say: 'path.cipher' }), h('dd', { class: 'address' }, seen.cipher)] : []));
    }
    this.rtt.textContent = rtt;
  }

  #hops({ way, local, remote }, leg) {
    const { h } = this.ctx;
    const stop = (key, place, relay) => h('li', { class: relay ? 'stop relay' : 'stop' },
      h('strong', { say: key }), place && h('span', { class: 'address small' }, place));
    const line = (over) => h('li', { class: 'line' }, h('span', { class: 'small soft' }, over));
    const own = way === 'own' || way === 'both';
    const other = way === 'other' || way === 'both';
    return [
      stop('path.you', own ? undefined : local.place), line(own ? leg : (local.protocol ?? '').toUpperCase()),
      ...(own ? [stop('path.own-relay', local.place, true), line('UDP')] : []),
      ...(other ? [stop('path.other-relay', remote.place, true), line('')] : []),
      stop('path.them', other ? undefined : remote.place),
    ];
  }

  failed(faults) {
    const why = faults.length > 0 ? 'path.failed-server' : this.relayOnly ? 'path.failed-relay' : 'path.failed';
    this.#say('bad', why, { faults: faults.join('; ') });
  }
}

/** What the page has counted, beside what the server has. */
export class CarriedCard {
  constructor(ctx) {
    this.ctx = ctx;
    const { h } = ctx;
    this.table = h('tbody', {});
    this.words = h('p', { class: 'soft small', id: 'call-carried-words' });
    this.node = h('section', { class: 'card', id: 'call-carried' },
      h('h2', { say: 'carried.title' }), h('p', { class: 'soft small', say: 'carried.lead' }),
      h('div', { class: 'scroll' }, h('table', { class: 'numbers' },
        h('thead', {}, h('tr', {}, h('th', { say: 'carried.who' }), h('th', { say: 'carried.to' }), h('th', { say: 'carried.from' }))),
        this.table)),
      this.words);
    this.begin(1);
  }

  begin(seat) {
    this.seat = seat;
    this.reset();
  }

  reset() {
    this.sessions = new Map();
    this.seen = undefined;
    this.#draw();
  }

  page(seen) {
    this.seen = seen;
    this.#draw();
  }

  /** What the server says of its live sessions; those that it does not name any more have ended. */
  server(sessions) {
    for (const known of this.sessions.values()) known.live = false;
    for (const session of sessions) this.sessions.set(session.id, { ...session, live: true });
    const ended = [...this.sessions.values()].filter(({ live }) => !live);
    for (const { id } of ended.slice(0, Math.max(0, this.sessions.size - LINES))) this.sessions.delete(id);
    this.#draw();
  }

  #draw() {
    const { h } = this.ctx;
    const row = (name, to, from, attributes) => h('tr', attributes, h('th', { scope: 'row' }, ...name.filter(Boolean)),
      h('td', {}, to), h('td', {}, from));
    const all = [...this.sessions.values()].sort((one) => (one.seat === this.seat ? -1 : 1));
    const used = all.filter((it) => it.to_peer_bytes + it.to_client_bytes > 0);
    const { sent = 0, received = 0, way } = this.seen ?? {};
    this.table.replaceChildren(
      row([h('span', { say: 'carried.page' })], size(sent), size(received), { 'data-count': 'page', 'data-sent': sent, 'data-received': received }),
      ...used.map((it) => {
        // What goes to the peer of the other side's relay comes to this side.
        const own = it.seat === this.seat;
        const [to, from] = own ? [it.to_peer_bytes, it.to_client_bytes] : [it.to_client_bytes, it.to_peer_bytes];
        return row([
          h('span', { say: own ? 'carried.own' : 'carried.other' }), ' ',
          h('span', { class: 'address small' }, `${it.transport.toUpperCase()} → ${it.relayed.join(', ')}`), ' ',
          !it.live && h('span', { class: 'chip', say: 'carried.ended' })],
        size(to), size(from), {
          'data-count': 'server', 'data-whose': own ? 'own' : 'other', 'data-session': it.id, 'data-sent': to, 'data-received': from,
        });
      }));
    const idle = all.length - used.length;
    const key = way === 'direct' ? 'carried.direct' : used.length === 0 ? 'carried.nothing' : 'carried.same';
    this.ctx.say(this.words, key, { idle });
  }
}

/** A file that goes over, and comes back as a hash. */
export class FileCard {
  constructor(ctx, { sample, choose }) {
    this.ctx = ctx;
    const { h } = ctx;
    this.sample = h('button', { class: 'quiet', type: 'button', id: 'call-file-sample', say: 'file.sample', on: { click: sample } });
    const field = h('input', { type: 'file', hidden: true, on: { change: () => { if (field.files[0]) choose(field.files[0]); field.value = ''; } } });
    this.other = h('button', { class: 'quiet', type: 'button', say: 'file.choose', on: { click: () => field.click() } });
    this.lines = h('div', { class: 'view tight' });
    this.node = h('section', { class: 'card' }, h('h2', { say: 'file.title' }), h('p', { class: 'soft small', say: 'file.lead' }),
      h('div', { class: 'row' }, this.sample, this.other, field), this.lines);
    this.reset(() => false);
  }

  reset(isReady) {
    this.isReady = isReady;
    for (const line of Object.values(this.ways ?? {})) this.#forget(line);
    this.ways = {};
    this.lines.replaceChildren();
    this.ready();
  }

  ready() {
    const ready = Boolean(this.isReady());
    for (const button of [this.sample, this.other]) button.disabled = !ready;
  }

  show(news) {
    const { h } = this.ctx;
    const line = this.ways[news.way] ??= this.#line(news.way);
    const { way, state, name, size: whole, done } = news;
    line.node.dataset.state = state;
    line.bar.max = Math.max(whole, 1);
    line.bar.value = done;
    line.bar.hidden = state !== 'going';
    line.chip.className = `chip ${{ intact: 'good', broken: 'bad', long: 'bad', refused: 'warn' }[state] ?? 'accent'}`;
    this.ctx.say(line.chip, `file.${way}-${state}`);
    line.name.textContent = `${name} · ${state === 'going' ? `${size(done)} / ` : ''}${size(whole)}`;
    const rate = news.took ? `${(whole * 8 / news.took / 1000).toFixed(1)} Mbit/s` : '';
    line.hash.textContent = news.sha256 ? `SHA-256 ${news.sha256}` : '';
    line.rate.textContent = rate;
    this.#forget(line);
    if (news.blob) {
      line.url = URL.createObjectURL(news.blob);
      line.save.append(h('a', { href: line.url, download: name, say: 'file.save' }));
    }
    if (news.answer) {
      const button = (say, yes) => h('button', { class: 'quiet', type: 'button', say, on: { click: () => news.answer(yes) } });
      line.save.append(button('file.take', true), ' ', button('file.refuse', false));
    }
    this.ready();
  }

  /** The browser keeps a file for as long as there is a link to it. */
  #forget(line) {
    if (line.url) URL.revokeObjectURL(line.url);
    line.url = undefined;
    line.save.replaceChildren();
  }

  #line(way) {
    const { h } = this.ctx;
    const line = {
      chip: h('span', { class: 'chip' }), name: h('span', {}), bar: h('progress', { class: 'wide' }),
      rate: h('span', { class: 'soft small' }), hash: h('p', { class: 'address small soft' }), save: h('span', { class: 'push' }),
    };
    line.node = h('div', { class: 'file', 'data-file': way, role: 'status' },
      h('div', { class: 'row' }, line.chip, line.name, line.rate, line.save), line.bar, line.hash);
    this.lines.append(line.node);
    return line;
  }
}

/** The states that a connection went through, and the two descriptions. */
export class MachineCard {
  constructor(ctx, restart) {
    this.ctx = ctx;
    this.faults = [];
    const { h } = ctx;
    this.states = h('ol', { class: 'states', id: 'call-states' });
    this.own = this.#description('machine.own');
    this.other = this.#description('machine.other');
    this.candidates = h('ol', { class: 'lines' });
    this.node = h('section', { class: 'card' }, h('h2', { say: 'machine.title' }), h('p', { class: 'soft small', say: 'machine.lead' }),
      this.states, this.own.node, this.other.node,
      h('details', {}, h('summary', { say: 'machine.candidates' }), this.candidates),
      h('div', { class: 'row' }, h('button', { class: 'quiet', type: 'button', say: 'machine.restart', on: { click: restart } })));
  }

  #description(key) {
    const { h } = this.ctx;
    const text = h('pre', { class: 'sdp' });
    const kind = h('span', { class: 'chip' });
    return { text, kind, node: h('details', { class: 'sdp-box' }, h('summary', {}, h('span', { say: key }), ' ', kind), text) };
  }

  follow(peer) {
    this.faults = [];
    this.states.replaceChildren();
    this.candidates.replaceChildren();
    for (const { text, kind } of [this.own, this.other]) {
      text.textContent = '';
      kind.textContent = '';
    }
    peer.addEventListener('state', ({ detail }) => this.#state(detail));
    peer.addEventListener('description', ({ detail: { side, type, sdp } }) => {
      this[side].text.textContent = sdp;
      this[side].kind.textContent = type;
    });
    peer.addEventListener('candidate', ({ detail: { side, text } }) => {
      const { h } = this.ctx;
      append(this.candidates, h('li', {}, h('span', { class: 'chip', say: `machine.${side}-short` }), ' ', h('code', {}, text)));
    });
    peer.addEventListener('fault', ({ detail }) => {
      const { errorCode, errorText, url } = detail;
      const fault = `${errorCode} ${errorText} (${url})`;
      if (this.faults.length < 8 && !this.faults.includes(fault)) this.faults.push(fault);
    });
  }

  #state({ machine, state, at }) {
    const { h } = this.ctx;
    const colour = { connected: 'good', completed: 'good', failed: 'bad', disconnected: 'warn', closed: 'bad' }[state] ?? '';
    append(this.states, h('li', { 'data-machine': machine, 'data-state': state },
      h('span', { class: 'soft small at' }, `${(at / 1000).toFixed(2)} s`), h('span', { class: 'mono' }, machine),
      h('span', { class: `chip ${colour}` }, state)));
  }
}
