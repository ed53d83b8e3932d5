// The Test tab: does the server relay for this browser, in which ways, how well, and if not, why not.

import { gather } from './gather.js';
import { CandidateList } from './candidates.js';
import { Lane } from './lane.js';
import { Outside } from './outside.js';
import { chosenServers } from './choice.js';
import { stunServers, tellsErrors, turnServers } from './servers.js';

/** How long a server may be silent, in milliseconds; after that, how long another relay is waited for. */
const PATIENCE = 10_000;
const LEFT = 4_000;

/** Ways in the order in which a browser likes them. */
const LIKED = ['udp', 'tcp', 'tls', 'dtls'];

/** What a test does, by its words. */
const STEPS = ['ways', 'relay', 'outside'];

export function mount(root, ctx) {
  const { h, say } = ctx;
  const choice = chosenServers(ctx);
  const button = h('button', { class: 'main', type: 'button', id: 'test-run', say: 'test.run' });
  const state = h('span', { class: 'soft', id: 'test-state', role: 'status' });
  const results = h('div', { class: 'view', id: 'test-results' });
  // What is going to happen, until it does.
  results.append(...STEPS.map((name, place) => step(ctx, place + 1, name)));
  root.append(
    h('div', { class: 'lead' }, h('h1', { say: 'test.title' }), h('p', { say: 'test.lead' })),
    h('div', { class: 'card' }, h('div', { class: 'row' }, button, state), choice.node),
    results);
  let running;
  button.addEventListener('click', async () => {
    if (running) {
      running.abort(new Error(ctx.t('test.stopped')));
      return;
    }
    running = new AbortController();
    say(button, 'test.stop');
    results.replaceChildren();
    root.dataset.state = 'running';
    try {
      const servers = await choice.servers();
      const run = new Run(ctx, results, state, servers, running.signal);
      root.dataset.state = await run.all();
    } catch (error) {
      const stopped = running.signal.aborted;
      root.dataset.state = stopped ? 'stopped' : 'bad';
      state.replaceChildren();
      results.prepend(h('p', { class: `card note ${stopped ? '' : 'bad'}`, role: 'alert' }, error.message));
    } finally {
      running = undefined;
      say(button, 'test.again');
    }
  });
}

function step({ h }, number, name) {
  return h('section', { class: 'card step' },
    h('div', { class: 'head' }, h('span', { class: 'number' }, number), h('h2', { say: `test.${name}` }),
      h('p', { class: 'soft small wide', say: `test.${name}-lead` })));
}

class Run {
  constructor(ctx, results, state, servers, signal) {
    Object.assign(this, { ctx, results, state, servers, signal, outcomes: [] });
    this.turns = turnServers(servers).sort((a, b) => LIKED.indexOf(a.place.way) - LIKED.indexOf(b.place.way));
  }

  /** Resolves to how it went: 'good', 'warn' or 'bad'. */
  async all() {
    const { h } = this.ctx;
    this.verdict = h('div', { class: 'card verdict', id: 'test-verdict', hidden: true, role: 'status' });
    this.results.append(this.verdict);
    await this.#gather();
    await this.#relay();
    await this.#outside();
    this.#doing();
    return this.#conclude();
  }

  #doing(key, values) {
    const { h } = this.ctx;
    this.state.replaceChildren(...(key ? [h('span', { class: 'row' }, h('span', { class: 'spin' }),
      h('span', { say: [key, values] }))] : []));
  }

  #section(name) {
    const section = step(this.ctx, STEPS.indexOf(name) + 1, name);
    this.results.append(section);
    return section;
  }

  async #gather() {
    this.#doing('test.gathering');
    const section = this.#section('ways');
    this.list = new CandidateList(this.ctx, this.servers);
    section.append(this.list.node);
    const { complete, took } = await gather(this.servers, (news) => this.list.add(news), PATIENCE, this.signal);
    this.list.finish(complete, took);
  }

  async #relay() {
    const section = this.#section('relay');
    if (this.turns.length === 0) {
      section.append(this.ctx.h('p', { class: 'note warn', say: 'test.no-turn' }));
      return;
    }
    const lanes = this.turns.map(({ server, place }) => new Lane(this.ctx, server, place));
    section.append(...lanes.map(({ node }) => node));
    for (const lane of lanes) {
      this.#doing('test.calling', { way: () => this.ctx.t(`way.${lane.place.way}`), server: lane.place.host });
      this.outcomes.push({ place: lane.place, ...await lane.run(this.list.gave(lane.place) ? PATIENCE : LEFT, this.signal) });
    }
  }

  async #outside() {
    const good = this.outcomes.findIndex(({ ok }) => ok);
    if (good < 0) return;
    this.#doing('test.outside-doing');
    const section = this.#section('outside');
    if (this.#udpIsBlocked()) {
      section.append(this.ctx.h('p', { class: 'note info', id: 'test-outside', 'data-state': 'info', say: 'outside.no-udp' }));
      return;
    }
    const outside = new Outside(this.ctx, this.turns[good].server, this.servers);
    section.append(outside.node);
    this.reached = await outside.run(this.signal);
  }

  /** Whether somebody was asked over UDP, and nobody has answered. */
  #udpIsBlocked() {
    const asked = stunServers(this.servers).length > 0 || this.turns.some(({ place }) => place.way === 'udp');
    const byUdp = ({ type, way }) => type === 'srflx' || (type === 'relay' && (way ?? 'udp') === 'udp');
    return asked && !this.list.seen.some(byUdp);
  }

  #conclude() {
    const { h } = this.ctx;
    const ways = (wanted) => {
      const list = this.outcomes.filter(({ ok }) => ok === wanted).map(({ place }) => place);
      const alone = new Set(this.outcomes.map(({ place }) => place.way)).size === this.outcomes.length;
      const named = ({ way, host, port }) => this.ctx.t(`way.${way}`) + (alone ? '' : ` (${host}:${port})`);
      return () => list.map(named).join(', ');
    };
    const good = this.outcomes.filter(({ ok }) => ok).length;
    const bad = this.outcomes.length - good;
    const lines = [];
    if (bad > 0 && good > 0) lines.push(['verdict.some', { bad: ways(false) }]);
    if (good > 0 && !this.outcomes.some(({ ok, place }) => ok && place.way === 'udp')) lines.push(['verdict.no-udp']);
    if (good > 0 && !this.outcomes.some(({ place }) => place.way === 'tls')) lines.push(['verdict.no-tls']);
    if (this.reached === 'bad') lines.push(['verdict.firewall']);
    if (good === 0) lines.push([this.outcomes.length === 0 ? 'verdict.nothing' : `verdict.${this.#mainFault()}`]);
    const state = good === 0 ? 'bad' : bad > 0 || this.reached === 'bad' ? 'warn' : 'good';
    this.verdict.classList.add(state);
    this.verdict.append(
      h('h2', { class: `${state}-text`, say: [`verdict.${state}`, { good: ways(true) }] }),
      ...lines.map((line) => h('p', { say: line })),
      this.#report(state));
    this.verdict.hidden = false;
    this.verdict.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    return state;
  }

  /** What most of the failed ways failed of: 'refused', 'silent', 'blocked', or 'unsaid' where browsers do not tell. */
  #mainFault() {
    if (this.outcomes.some(({ failed }) => failed !== 'relay')) return 'blocked';
    const codes = this.outcomes.flatMap(({ errors }) => errors.map(({ errorCode }) => errorCode));
    if (codes.some((code) => code < 700)) return 'refused';
    return tellsErrors() ? 'silent' : 'unsaid';
  }

  /** Everything that was seen, to paste into a message to the operator: no credential is in it. */
  #report(state) {
    const { h } = this.ctx;
    const report = {
      verdict: state, browser: navigator.userAgent, at: new Date().toISOString(), candidates: this.list.seen,
      errors: this.list.errors, outside: this.reached ?? 'not tried',
      relays: this.outcomes.map(({ pair, ...outcome }) => outcome),
    };
    const text = JSON.stringify(report, null, 1);
    const copy = h('button', {
      class: 'quiet', type: 'button', say: 'test.copy',
      on: { click: async () => { await navigator.clipboard.writeText(text); this.ctx.say(copy, 'test.copied'); } },
    });
    // Pages that did not come over https have no clipboard.
    return h('details', {}, h('summary', { say: 'test.report' }), h('pre', { id: 'test-report' }, text),
      navigator.clipboard && h('p', {}, copy));
  }
}
