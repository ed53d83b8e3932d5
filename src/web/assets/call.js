// The Call tab: two browsers, a link between them, and everything that happens on the way to a call.

import { Files, SAMPLE, sample } from './call-file.js';
import { Link, Refusal } from './call-link.js';
import { available, source } from './call-media.js';
import { look } from './call-path.js';
import { Peer } from './call-peer.js';
import { CarriedCard, FileCard, MachineCard, PathCard } from './call-view.js';

const KINDS = ['synthetic', 'camera', 'screen'];
const LOOK = 1_000;

export function mount(root, ctx) {
  const call = new Call(root, ctx);
  const arrive = () => call.arrive();
  addEventListener('hashchange', arrive);
  arrive();
}

class Call {
  constructor(root, ctx) {
    Object.assign(this, { root, ctx, kind: 'synthetic' });
    const { h } = ctx;
    this.lobby = this.#lobby();
    this.news = h('p', { class: 'note bad', role: 'alert', hidden: true });
    this.invitation = this.#invitation();
    this.stage = this.#stage();
    this.path = new PathCard(ctx);
    this.carried = new CarriedCard(ctx);
    this.file = new FileCard(ctx, {
      sample: () => this.files?.send(sample(SAMPLE)), choose: (file) => this.files?.send(file),
    });
    this.machine = new MachineCard(ctx, () => this.peer?.restart());
    this.course = h('div', { class: 'view' }, this.path.node, this.carried.node, this.file.node, this.machine.node);
    this.inside = h('div', { class: 'view', hidden: true }, this.invitation, this.stage, this.course);
    root.append(h('div', { class: 'lead' }, h('h1', { say: 'call.title' }), h('p', { say: 'call.lead' })),
      this.news, this.lobby, this.inside);
    this.#state('lobby');
  }

  #lobby() {
    const { h } = this.ctx;
    const choice = (name, values, chosen, off) => h('div', { class: 'choices', role: 'radiogroup' },
      ...values.map((value) => h('label', { class: 'choice' },
        h('input', { type: 'radio', name, value, checked: value === chosen, disabled: off?.(value) }),
        h('span', { say: name === 'way' ? `call-way.${value}` : `call-media.${value}` }))));
    const missing = KINDS.filter((kind) => !available(kind));
    this.start = h('button', { class: 'main', type: 'submit', id: 'call-start', say: 'call.start' });
    return h('form', { class: 'card', on: { submit: (event) => { event.preventDefault(); this.#enter(); } } },
      h('div', { class: 'halves' },
        h('div', { class: 'view tight' }, h('h2', { say: 'call.send' }),
          choice('media', KINDS, 'synthetic', (kind) => missing.includes(kind))),
        h('div', { class: 'view tight' }, h('h2', { say: 'call.way' }), choice('way', ['any', 'relay'], 'any'))),
      missing.length > 0 && h('p', { class: 'note warn small', say: 'call.insecure' }),
      h('div', { class: 'row' }, this.start, h('span', { class: 'soft small', say: 'call.promise' })));
  }

  #invitation() {
    const { h } = this.ctx;
    this.link = h('input', { class: 'wide mono', readonly: true, id: 'call-link', label: 'call.link' });
    const copy = h('button', { class: 'main', type: 'button', say: 'call.copy' });
    const open = h('a', { class: 'button quiet', target: '_blank', rel: 'noopener', say: 'call.open' });
    this.openLink = open;
    copy.addEventListener('click', async () => {
      this.link.select();
      // Without HTTPS there is no clipboard but the one of old.
      await (navigator.clipboard?.writeText(this.link.value) ?? Promise.resolve(document.execCommand('copy')));
      this.ctx.say(copy, 'call.copied');
    });
    return h('section', { class: 'card invitation' },
      h('h2', { say: 'call.invite' }), h('p', { class: 'soft small', say: 'call.invite-lead' }),
      h('div', { class: 'row stretch' }, this.link, copy, open));
  }

  #stage() {
    const { h } = this.ctx;
    const video = (who, attributes) => h('video', { autoplay: true, playsinline: true, 'data-who': who, ...attributes });
    this.own = video('own');
    // Its sound would come back as an echo.
    this.own.muted = true;
    this.other = video('other');
    this.chip = h('span', { class: 'chip', id: 'call-state', role: 'status' });
    this.arrived = h('span', { class: 'soft small', id: 'call-arrived' });
    this.waiting = h('p', { class: 'wait' }, h('span', { class: 'spin' }), h('span', { say: 'call.waits' }));
    const toggle = (kind) => h('button', {
      class: 'quiet', type: 'button', 'aria-pressed': 'false', say: `call.stop-${kind}`,
      on: { click: ({ target }) => this.#toggle(kind, target) },
    });
    this.sound = h('button', { class: 'quiet', type: 'button', say: 'call.silence', on: { click: () => this.#silence() } });
    const kinds = h('select', { label: 'call.send', on: { change: ({ target }) => this.#switch(target.value) } },
      ...KINDS.map((kind) => h('option', { value: kind, disabled: !available(kind), say: `call-media.${kind}` })));
    this.kinds = kinds;
    return h('section', { class: 'card stage' },
      h('div', { class: 'screens' },
        h('figure', { class: 'screen' }, this.other, this.waiting, h('figcaption', { say: 'call.other' })),
        h('figure', { class: 'screen' }, this.own, h('figcaption', { say: 'call.you' }))),
      h('div', { class: 'row' }, this.chip, this.arrived,
        h('span', { class: 'row push' }, kinds, toggle('video'), toggle('audio'), this.sound,
          h('button', { class: 'quiet hang', type: 'button', id: 'call-end', say: 'call.end', on: { click: () => this.#leave() } }))));
  }

  /** The address names a room: whoever opens it is asked in. */
  arrive() {
    const room = this.ctx.fragment.get('room') ?? '';
    if (room === (this.room ?? '')) return;
    if (this.signalling && room) this.#leave();
    this.room = room || undefined;
    this.ctx.say(this.start, this.room ? 'call.join' : 'call.start');
    this.root.dataset.invited = String(Boolean(this.room));
  }

  #state(state, values) {
    this.root.dataset.state = state;
    const colour = { connected: 'good', failed: 'bad', over: 'bad', connecting: 'accent', lost: 'warn' }[state] ?? '';
    this.chip.className = `chip ${colour}`;
    this.ctx.say(this.chip, `call.is-${state}`, values);
    this.lobby.hidden = !['lobby', 'entering'].includes(state);
    this.inside.hidden = !this.lobby.hidden;
    this.invitation.hidden = state !== 'waiting';
    this.course.hidden = state === 'waiting';
    this.waiting.hidden = !['waiting', 'connecting'].includes(state);
    this.start.disabled = state === 'entering';
  }

  async #enter() {
    this.news.hidden = true;
    this.#state('entering');
    const chosen = new FormData(this.lobby);
    this.relayOnly = chosen.get('way') === 'relay';
    this.kind = chosen.get('media');
    try {
      // The picture first: a browser opens its question to the person only right after a touch.
      this.source = await source(this.kind, this.room ? 2 : 1);
      this.signalling = await this.#signalling();
    } catch (error) {
      this.#stop();
      this.#tell(this.#words(error));
      this.#state('lobby');
      return;
    }
    const { room, seat } = this.signalling.welcome;
    Object.assign(this, { room, seat });
    this.own.srcObject = this.source.stream;
    this.kinds.value = this.kind;
    const link = new URL(location.href);
    link.hash = `room=${room}`;
    history.replaceState(null, '', link);
    this.openLink.href = link.href;
    this.link.value = elsewhere(link, this.signalling.welcome.iceServers);
    this.carried.begin(seat);
    this.#state('waiting');
    this.looking = setInterval(() => this.#look(), LOOK);
    for (const message of this.early.splice(0)) this.#hear(message);
  }

  async #signalling() {
    const url = this.ctx.url('call');
    url.protocol = url.protocol.replace('http', 'ws');
    this.early = [];
    const hear = (message) => (this.signalling ? this.#hear(message) : this.early.push(message));
    if (this.room) return Link.open(url, { type: 'join', room: this.room }, hear);
    // Whoever may have credentials may open a room: this asks for the key.
    await this.ctx.ice();
    return Link.open(url, { type: 'create', key: this.ctx.key }, hear);
  }

  #words(error) {
    if (error instanceof Refusal) {
      const known = this.ctx.t(`refused.${error.why}`);
      return known === `refused.${error.why}` ? error.message : known;
    }
    const media = { NotAllowedError: 'media.forbidden', NotFoundError: 'media.none', NotReadableError: 'media.busy' }[error.name];
    return media ? this.ctx.t(media) : error.message;
  }

  #tell(words) {
    this.news.textContent = words;
    this.news.hidden = false;
  }

  #hear(message) {
    if (message.type === 'peer') this.#met(message.here);
    else if (message.type === 'carried') this.carried.server(message.sessions);
    else if (message.type === 'end') this.#over(message.why);
    else this.peer?.hear(message);
  }

  /** The other side has come, or gone. */
  #met(here) {
    this.#part();
    if (!here) {
      this.#state('waiting');
      return;
    }
    this.#state('connecting');
    const { iceServers } = this.signalling.welcome;
    const peer = new Peer({
      iceServers, relayOnly: this.relayOnly, polite: this.seat === 2, stream: this.source.stream,
      say: (message) => this.signalling.say(message),
    });
    this.peer = peer;
    this.files = new Files(peer.files, (news) => this.file.show(news));
    this.file.reset(() => this.files?.ready);
    peer.files.addEventListener('open', () => this.file.ready());
    this.machine.follow(peer);
    this.path.reset(this.relayOnly);
    this.carried.reset();
    peer.addEventListener('track', ({ detail }) => this.#show(detail));
    peer.addEventListener('broken', ({ detail }) => this.#tell(String(detail)));
    peer.pc.addEventListener('connectionstatechange', () => this.#connection(peer.pc.connectionState));
  }

  #connection(state) {
    const shown = { connected: 'connected', failed: 'failed', disconnected: 'lost', connecting: 'connecting' }[state];
    if (shown) this.#state(shown);
    if (shown === 'failed') this.path.failed(this.machine.faults);
    this.#look();
  }

  #show({ track, stream }) {
    const shown = this.other.srcObject ?? new MediaStream();
    if (stream && !this.other.srcObject) this.other.srcObject = stream;
    else if (!shown.getTracks().includes(track)) shown.addTrack(track);
    this.other.srcObject ??= shown;
    this.other.play().catch(() => {
      // No sound before a touch: the picture at least.
      this.other.muted = true;
      this.ctx.say(this.sound, 'call.listen');
      return this.other.play();
    }).catch(() => {});
  }

  async #look() {
    const { peer } = this;
    if (!peer || this.root.hidden) return;
    const seen = await look(peer.pc);
    if (peer !== this.peer) return;
    this.root.dataset.way = seen.way ?? '';
    this.path.show(seen);
    this.carried.page(seen);
    const { video, audio } = seen;
    this.root.dataset.frames = String(video?.frames ?? 0);
    this.arrived.textContent = [
      video && `${video.width}×${video.height}, ${Math.round(video.rate)}/s`,
      audio && `♪ ${'▁▂▃▄▅▆▇█'[Math.min(7, Math.floor(Math.sqrt(audio.level) * 16))]}`,
    ].filter(Boolean).join('  ·  ');
  }

  #toggle(kind, button) {
    const off = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', String(off));
    this.ctx.say(button, off ? `call.go-${kind}` : `call.stop-${kind}`);
    this.#mute(kind, off);
  }

  #mute(kind, off) {
    for (const track of this.source.stream.getTracks()) if (track.kind === kind) track.enabled = !off;
  }

  #silence() {
    this.other.muted = !this.other.muted;
    this.ctx.say(this.sound, this.other.muted ? 'call.listen' : 'call.silence');
  }

  /** Sends something else from now on. */
  async #switch(kind) {
    try {
      const next = await source(kind, this.seat);
      this.source.stop();
      this.source = next;
      this.kind = kind;
      this.own.srcObject = next.stream;
      await this.peer?.replace(next.stream);
      for (const [index, name] of ['video', 'audio'].entries()) {
        const button = this.stage.querySelectorAll('[aria-pressed]')[index];
        this.#mute(name, button.getAttribute('aria-pressed') === 'true');
      }
    } catch (error) {
      this.kinds.value = this.kind;
      this.#tell(this.#words(error));
    }
  }

  /** The connection of before is nobody's any more. */
  #part() {
    this.peer?.close();
    this.peer = undefined;
    this.files = undefined;
    this.other.srcObject = null;
    this.arrived.textContent = '';
    this.root.dataset.way = '';
  }

  #over(why) {
    // What goes directly, or over the relay, goes on without signalling; only nobody new can come.
    const words = this.ctx.t(`end.${why}`);
    if (this.peer?.pc.connectionState !== 'connected') this.#leave();
    this.#tell(words);
  }

  #leave() {
    this.#part();
    this.#stop();
    this.news.hidden = true;
    this.#state('lobby');
  }

  #stop() {
    clearInterval(this.looking);
    this.signalling?.close();
    this.source?.stop();
    this.signalling = undefined;
    this.source = undefined;
    this.own.srcObject = null;
  }
}

/** The same link as other machines know this server: whoever sits at it calls it localhost. */
function elsewhere(link, iceServers) {
  const local = /^(localhost|127\..*|\[::1\])$/;
  if (!local.test(link.hostname)) return link.href;
  const hosts = iceServers.flatMap(({ urls }) => urls).map((url) => /^turns?:(\[[^\]]+\]|[^:?]+)/.exec(url)?.[1]);
  const there = new URL(link);
  there.hostname = hosts.find((host) => host && !local.test(host)) ?? link.hostname;
  return there.href;
}
