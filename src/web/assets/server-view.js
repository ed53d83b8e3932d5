// What an operator sees of the server: totals and rates, sessions, refusals, relay ports.

import { size } from './call-path.js';
import { Plot } from './plot.js';

/** How far back the plots go, in milliseconds. */
const SPAN = 120_000;

const count = (number) => number.toLocaleString('en').replaceAll(',', ' ');

/** Bits a second for people. */
function rate(bytes, passed) {
  const bits = bytes * 8 / Math.max(passed / 1000, 0.001);
  if (bits < 1000) return `${Math.round(bits)} bit/s`;
  const [unit, value] = bits < 1e6 ? ['kbit/s', bits / 1e3] : bits < 1e9 ? ['Mbit/s', bits / 1e6] : ['Gbit/s', bits / 1e9];
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
}

function time(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const from = parts.findIndex(([length]) => seconds >= length);
  if (from < 0) return '0 s';
  return parts.slice(from, from + 2).map(([length, unit], index) => {
    const left = index === 0 ? seconds : seconds % parts[from][0];
    return `${Math.floor(left / length)} ${unit}`;
  }).filter((part, index) => index === 0 || !part.startsWith('0 ')).join(' ');
}

export class TotalsCard {
  constructor(ctx) {
    this.ctx = ctx;
    const { h } = ctx;
    const tile = (name) => {
      const value = h('strong', { class: 'tile-value', id: `server-${name}` }, '–');
      return { value, node: h('div', { class: 'tile' }, h('span', { class: 'soft small', say: `server.${name}` }), value) };
    };
    this.tiles = Object.fromEntries(['sessions', 'begun', 'refused', 'uptime'].map((name) => [name, tile(name)]));
    this.chip = h('span', { class: 'chip', id: 'server-status' });
    this.version = h('span', { class: 'soft small' });
    const plot = (title) => new Plot({ kind: 'area', span: SPAN, least: 0.1, h, title, unit: 'Mbit/s', digits: 2 });
    this.plots = [plot('server.to-peers'), plot('server.to-clients')];
    this.node = h('section', { class: 'card' },
      h('div', { class: 'row' }, h('h2', { say: 'server.now' }), this.chip, h('span', { class: 'push' }, this.version)),
      h('div', { class: 'tiles' }, ...Object.values(this.tiles).map(({ node }) => node)),
      h('div', { class: 'plots two' }, ...this.plots.map(({ node }) => node)));
    this.past = [];
  }

  show(status, now) {
    const { tiles, past } = this;
    this.chip.className = `chip ${status.status === 'ok' ? 'good' : 'warn'}`;
    this.chip.textContent = status.status;
    this.version.textContent = `Turnwire ${status.version} · ${this.ctx.t('server.workers', { n: status.workers })}`;
    tiles.sessions.value.textContent = count(status.sessions);
    tiles.begun.value.textContent = count(status.sessions_begun);
    tiles.refused.value.textContent = count(status.requests_refused);
    tiles.uptime.value.textContent = time(status.uptime_seconds);
    const last = past.at(-1);
    // A server that was started anew counts from the beginning.
    if (last && last.status.pid !== status.pid) past.length = 0;
    past.push({ at: now, status });
    while (now - past[0].at > SPAN) past.shift();
    for (const [index, name] of ['to_peer_bytes', 'to_client_bytes'].entries()) {
      const points = past.slice(1).map(({ at, status: it }, before) => {
        const passed = at - past[before].at;
        return [at - past[0].at, (it[name] - past[before].status[name]) * 8 / passed / 1000];
      });
      const plot = this.plots[index];
      plot.points = points.slice(0, -1);
      const newest = points.at(-1);
      if (newest) {
        plot.add(...newest);
        plot.show(newest[1]);
      }
    }
  }
}

export class SessionsCard {
  constructor(ctx, { changed, depth }) {
    Object.assign(this, { ctx, depth, before: new Map(), filter: {} });
    const { h } = ctx;
    this.search = h('input', {
      type: 'search', hint: 'server.search', label: 'server.search', autocapitalize: 'off', spellcheck: 'false', id: 'server-search',
      on: { input: () => { this.#read(); changed(); } },
    });
    this.rows = h('tbody', {});
    this.words = h('p', { class: 'soft small' });
    const heads = ['session', 'user', 'client', 'relayed', 'age', 'carried'];
    this.node = h('section', { class: 'card' },
      h('div', { class: 'row' }, h('h2', { say: 'server.live' }), h('span', { class: 'push' }, this.search)),
      h('div', { class: 'scroll' }, h('table', { class: 'numbers sessions', id: 'server-live' },
        h('thead', {}, h('tr', {}, ...heads.map((name) => h('th', { say: `server.${name}` })))), this.rows)),
      this.words);
  }

  /** An address is looked for as one; everything else is a user. */
  #read() {
    const text = this.search.value.trim();
    const address = /^[\d.:[\]a-f]+(\/\d+)?$/i.test(text) && /[.:]/.test(text);
    this.filter = text ? { [address ? 'address' : 'user']: text } : {};
  }

  show(sessions, more, now) {
    const before = this.before;
    this.before = new Map(sessions.map((it) => [it.id, { at: now, bytes: it.to_peer_bytes + it.to_client_bytes }]));
    const open = this.open;
    const rows = sessions.map((it) => this.#row(it, before.get(it.id), now));
    this.rows.replaceChildren(...rows.flat());
    if (open && !this.before.has(open)) this.open = undefined;
    const searched = Object.keys(this.filter).length > 0;
    const key = sessions.length === 0 ? (searched ? 'server.no-such' : 'server.nobody') : more ? 'server.more' : 'server.rows';
    this.ctx.say(this.words, key, { n: sessions.length });
  }

  #row(it, before, now) {
    const { h } = this.ctx;
    const bytes = it.to_peer_bytes + it.to_client_bytes;
    const speed = before ? rate(bytes - before.bytes, now - before.at) : '–';
    const refusal = it.last_refusal;
    const name = h('button', {
      class: 'link', type: 'button', 'aria-expanded': String(this.open === it.id), on: { click: () => this.#toggle(it.id) },
    }, it.id);
    const row = h('tr', { 'data-session': it.id },
      h('td', {}, name),
      h('td', {}, h('span', { class: 'address' }, it.owner), refusal && h('p', { class: 'warn-text small' }, `${refusal.code} ${refusal.phrase}`)),
      h('td', {}, h('span', { class: 'chip' }, it.transport.toUpperCase()), ' ', h('span', { class: 'address' }, it.client)),
      h('td', {}, h('span', { class: 'address' }, it.relayed.join(', '))),
      h('td', {}, time(it.age_seconds)),
      h('td', {}, h('strong', {}, speed), h('p', { class: 'soft small' }, size(bytes))));
    if (this.open !== it.id) return [row];
    this.box ??= h('td', { colspan: '6' });
    return [row, h('tr', { class: 'depth' }, this.box)];
  }

  async #toggle(id) {
    const { h } = this.ctx;
    if (this.open === id) {
      this.open = undefined;
      this.rows.querySelector('.depth')?.remove();
      return;
    }
    this.open = id;
    this.box = h('td', { colspan: '6' }, h('span', { class: 'spin' }));
    this.rows.querySelector('.depth')?.remove();
    this.rows.querySelector(`[data-session="${CSS.escape(id)}"]`).after(h('tr', { class: 'depth' }, this.box));
    const { box } = this;
    try {
      box.replaceChildren(this.#depth(await this.depth(id)));
    } catch (error) {
      box.replaceChildren(h('p', { class: 'bad-text' }, error.message));
    }
  }

  #depth({ session, permissions, channels, rates, credential_expires: expires }) {
    const { h } = this.ctx;
    const list = (items) => (items.length > 0 ? h('ul', { class: 'lines' }, ...items.map((item) => h('li', { class: 'address' }, item))) : '–');
    const left = (it) => `${time(it.remaining_seconds)}`;
    const refusal = session.last_refusal;
    return h('dl', { class: 'facts' },
      h('dt', { say: 'server.username' }), h('dd', { class: 'address' }, session.username ?? session.user),
      ...(expires ? [h('dt', { say: 'server.expires' }), h('dd', {}, new Date(expires * 1000).toLocaleString())] : []),
      h('dt', { say: 'server.remaining' }), h('dd', {}, left(session)),
      h('dt', { say: 'server.permissions' }), h('dd', {}, list(permissions.map((it) => `${it.peer} · ${left(it)}`))),
      h('dt', { say: 'server.channels' }), h('dd', {}, list(channels.map((it) => `0x${Number(it.number).toString(16)} → ${it.peer} · ${left(it)}`))),
      h('dt', { say: 'server.rates' }), h('dd', {}, h('span', { say: ['server.rates-are', {
        to: rate(rates?.to_peer_bytes ?? 0, 1000), from: rate(rates?.to_client_bytes ?? 0, 1000),
      }] })),
      ...(refusal ? [h('dt', { say: 'server.refusal' }), h('dd', {}, `${refusal.code} ${refusal.phrase}. ${refusal.hint}`)] : []),
      h('dt', { say: 'server.end' }), h('dd', {}, h('code', {}, `turnwire sessions kill ${session.id}`)));
  }
}

export class CausesCard {
  constructor(ctx) {
    this.ctx = ctx;
    const { h } = ctx;
    this.known = new Map();
    this.rows = h('tbody', {});
    this.none = h('p', { class: 'soft', say: 'server.no-refusals' });
    this.table = h('div', { class: 'scroll', hidden: true }, h('table', { class: 'numbers causes', id: 'server-causes' },
      h('thead', {}, h('tr', {}, ...['cause', 'count', 'means'].map((name) => h('th', { say: `server.${name}` })))), this.rows));
    this.node = h('section', { class: 'card' }, h('h2', { say: 'server.refusals' }), h('p', { class: 'soft small', say: 'server.refusals-lead' }),
      this.none, this.table);
  }

  words(causes) {
    for (const cause of causes) this.known.set(cause.cause, cause);
  }

  show(counters) {
    const { h } = this.ctx;
    const found = [];
    for (const [name, value] of Object.entries(counters)) {
      const labels = /^turnwire_refusals_total\{(.*)\}$/.exec(name)?.[1];
      const cause = labels && /cause="([^"]*)"/.exec(labels)?.[1];
      if (cause && value > 0) found.push({ cause, code: /code="([^"]*)"/.exec(labels)?.[1], value });
    }
    found.sort((a, b) => b.value - a.value);
    const first = this.first ??= new Map(found.map(({ cause, value }) => [cause, value]));
    this.none.hidden = found.length > 0;
    this.table.hidden = found.length === 0;
    this.rows.replaceChildren(...found.map(({ cause, code, value }) => {
      const { phrase = '', hint = '' } = this.known.get(cause) ?? {};
      const more = value - (first.get(cause) ?? 0);
      return h('tr', { 'data-cause': cause },
        h('td', {}, h('span', { class: 'chip' }, code), ' ', h('code', {}, cause)),
        h('td', {}, h('strong', {}, count(value)), more > 0 && h('p', { class: 'warn-text small' }, `+${count(more)}`)),
        h('td', {}, phrase, hint && h('p', { class: 'soft small' }, hint)));
    }));
  }
}

export class PortsCard {
  constructor(ctx) {
    this.ctx = ctx;
    const { h } = ctx;
    this.list = h('div', { class: 'view tight' });
    this.node = h('section', { class: 'card' }, h('h2', { say: 'server.ports' }), this.list);
  }

  show(ports) {
    const { h } = this.ctx;
    this.list.replaceChildren(...ports.map(({ address, known_as: known, free, all }) => h('div', { class: 'file' },
      h('div', { class: 'row' }, h('span', { class: 'address' }, known && known !== address ? `${address} (${known})` : address),
        h('span', { class: 'push soft small', say: ['server.ports-free', { free: count(free), all: count(all) }] })),
      h('progress', { class: 'wide', max: String(Math.max(all, 1)), value: String(all - free) }))));
  }
}
