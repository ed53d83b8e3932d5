// The Server tab: what the server does now, for its operator. It only looks: nothing can be changed from here.

import { CausesCard, PortsCard, SessionsCard, TotalsCard } from './server-view.js';

const LOOK = 2_000;
/** Sessions that are shown at a time. */
const MOST = 200;

export function mount(root, ctx) {
  const tab = new Server(root, ctx);
  return { shown: () => tab.go(), hidden: () => tab.rest() };
}

/** Kept for this window only: a token is a secret. */
function kept(token) {
  try {
    if (token === undefined) return sessionStorage.getItem('admin') ?? '';
    sessionStorage.setItem('admin', token);
  } catch { /* Then it is asked for again after a reload. */ }
  return token ?? '';
}

class Server {
  constructor(root, ctx) {
    Object.assign(this, { root, ctx, token: kept() });
    const { h } = ctx;
    this.news = h('p', { class: 'note bad', role: 'alert', hidden: true });
    this.door = this.#door();
    this.totals = new TotalsCard(ctx);
    this.sessions = new SessionsCard(ctx, {
      changed: () => this.#soon(), depth: (id) => this.#ask(`sessions/${id}?measure_ms=1000`),
    });
    this.causes = new CausesCard(ctx);
    this.ports = new PortsCard(ctx);
    this.inside = h('div', { class: 'view', hidden: true }, this.totals.node, this.sessions.node, this.causes.node, this.ports.node,
      h('div', { class: 'row' },
        h('button', { class: 'quiet', type: 'button', say: 'server.out', on: { click: () => this.#out() } }),
        h('span', { class: 'soft small', say: 'server.only' })));
    root.append(h('div', { class: 'lead' }, h('h1', { say: 'server.title' }), h('p', { say: 'server.lead' })),
      this.news, this.door, this.inside);
    root.dataset.state = 'out';
    if (this.token) this.#in();
  }

  #door() {
    const { h } = this.ctx;
    const safe = location.protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
    this.field = h('input', {
      type: 'password', required: true, autocomplete: 'off', spellcheck: 'false', class: 'wide', label: 'server.token', id: 'server-token',
    });
    return h('form', { class: 'card', on: { submit: (event) => { event.preventDefault(); this.token = this.field.value.trim(); this.#in(); } } },
      h('h2', { say: 'server.login' }), h('p', { class: 'soft small', say: 'server.where' }),
      !safe && h('p', { class: 'note warn small', say: 'server.plain' }),
      h('div', { class: 'row stretch' }, this.field, h('button', { class: 'main', type: 'submit', id: 'server-in', say: 'server.in' })));
  }

  async #ask(path) {
    let answer;
    let headers;
    try {
      headers = new Headers({ Authorization: `Bearer ${this.token}` });
    } catch {
      // What no header can carry is nobody's token.
      throw Object.assign(new Error(this.ctx.t('server.wrong')), { status: 401 });
    }
    try {
      answer = await fetch(this.ctx.url(`admin/${path}`), { headers, cache: 'no-store' });
    } catch {
      throw new Error(this.ctx.t('door.silent'));
    }
    if (answer.ok) return answer.json();
    const known = { 401: 'server.wrong', 403: 'server.none', 404: 'server.gone', 429: 'door.too-many' }[answer.status];
    const error = new Error(known ? this.ctx.t(known) : this.ctx.t('door.refused', {
      status: answer.status, text: (await answer.text()).slice(0, 200),
    }));
    error.status = answer.status;
    throw error;
  }

  async #in() {
    try {
      const { causes } = await this.#ask('causes');
      this.causes.words(causes);
      kept(this.token);
      this.field.value = '';
      this.root.dataset.state = 'in';
      this.door.hidden = true;
      this.inside.hidden = false;
      this.go();
    } catch (error) {
      if (error.status === 401) kept('');
      this.#tell(error.message);
    }
  }

  #out() {
    this.rest();
    kept('');
    this.token = '';
    this.root.dataset.state = 'out';
    this.door.hidden = false;
    this.inside.hidden = true;
  }

  #tell(words) {
    this.news.textContent = words ?? '';
    this.news.hidden = !words;
  }

  go() {
    if (this.root.dataset.state !== 'in') return;
    clearTimeout(this.timer);
    this.#look();
  }

  rest() {
    clearTimeout(this.timer);
  }

  /** Looks again as soon as nobody types any more. */
  #soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#look(), 300);
  }

  async #look() {
    try {
      const query = new URLSearchParams({ limit: MOST, ...this.sessions.filter });
      const [status, { counters }, { sessions, next }] = await Promise.all([
        this.#ask('status'), this.#ask('counters'), this.#ask(`sessions?${query}`),
      ]);
      const now = performance.now();
      this.totals.show(status, now);
      this.sessions.show(sessions, next !== null, now);
      this.causes.show(counters);
      this.ports.show(status.relay_ports);
      this.#tell();
    } catch (error) {
      this.#tell(error.message);
      if (error.status === 401 || error.status === 403) return this.#out();
    }
    clearTimeout(this.timer);
    if (!this.root.hidden && this.root.dataset.state === 'in') this.timer = setTimeout(() => this.#look(), LOOK);
    return undefined;
  }
}
