// One way through the relay: a call of the page with itself, drawn while it runs.

import { loopCall } from './loop.js';
import { Plot } from './plot.js';
import { errorWords, tellsErrors, withPort } from './servers.js';

const SPAN = 6_500;
const BUCKET = 500;

export class Lane {
  constructor(ctx, server, place) {
    Object.assign(this, { ctx, server, place, relayed: [], buckets: new Map() });
    const { h } = ctx;
    this.state = h('span', { class: 'chip', say: 'lane.waits' });
    this.doing = h('p', { class: 'soft small' });
    this.plots = {
      rtt: new Plot({ kind: 'dots', span: SPAN, least: 10, h, title: 'lane.rtt', unit: 'ms', digits: 1 }),
      rate: new Plot({ kind: 'area', span: SPAN, least: 1, h, title: 'lane.rate', unit: 'Mbit/s', digits: 1 }),
      loss: new Plot({ kind: 'bars', span: SPAN, least: 10, h, title: 'lane.loss', unit: '%', digits: 1 }),
    };
    this.drawn = h('div', { class: 'plots', hidden: true }, ...Object.values(this.plots).map(({ node }) => node));
    this.words = h('div', { class: 'view', hidden: true });
    this.node = h('article', { class: 'lane', 'data-lane': place.url, 'data-way': place.way, 'data-state': 'waiting' },
      h('div', { class: 'row' },
        h('span', { class: 'chip accent', say: `way.${place.way}` }),
        h('span', { class: 'address' }, withPort(place.host, place.port)),
        h('span', { class: 'push' }, this.state)),
      this.doing, this.drawn, this.words);
  }

  /** Waits for relays for so long. */
  async run(patience, signal) {
    this.node.dataset.state = 'running';
    this.node.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    const outcome = await loopCall(this.server, (news) => this.#hear(news), patience, signal);
    this.node.dataset.state = outcome.ok ? 'good' : 'bad';
    this.state.className = `chip ${this.node.dataset.state}`;
    this.ctx.say(this.state, outcome.ok ? 'lane.works' : 'lane.fails');
    this.doing.replaceChildren();
    this.words.hidden = false;
    if (outcome.ok) this.#good(outcome);
    else this.#bad(outcome);
    return outcome;
  }

  #hear(news) {
    const { rtt, rate, loss } = this.plots;
    if (news.stage) this.#stage(news.stage);
    if (news.ping !== undefined) {
      rtt.add(news.at, news.ping);
      rtt.show(news.ping);
      this.#count(news.at, 0);
    }
    if (news.lost) this.#count(news.at, 1);
    if (news.rate !== undefined) {
      rate.add(news.at, news.rate / 1e6);
      rate.show(news.rate / 1e6);
    }
    if (news.ping !== undefined || news.lost) {
      loss.set([...this.buckets].map(([at, { all, lost }]) => [at + BUCKET / 2, 100 * lost / all]));
      const all = [...this.buckets.values()];
      loss.show(100 * sum(all, 'lost') / sum(all, 'all'));
    }
    this.latest = news.at ?? this.latest;
  }

  #count(at, lost) {
    const start = Math.floor(at / BUCKET) * BUCKET;
    const bucket = this.buckets.get(start) ?? { all: 0, lost: 0 };
    this.buckets.set(start, { all: bucket.all + 1, lost: bucket.lost + lost });
  }

  #stage(stage) {
    const { h, say } = this.ctx;
    this.state.className = 'chip accent';
    say(this.state, 'lane.runs');
    this.doing.replaceChildren(h('span', { say: `lane.stage-${stage}` }));
    if (stage === 'quiet') {
      this.drawn.hidden = false;
      this.node.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    }
    if (stage === 'load') for (const plot of Object.values(this.plots)) plot.shadeFrom(this.latest ?? 0);
  }

  #good({ rtt, loaded, rate, loss, loadedLoss, relayed }) {
    const { h } = this.ctx;
    this.plots.rtt.show(rtt);
    this.plots.rate.show(rate / 1e6);
    this.plots.loss.show(loss);
    const values = {
      rtt: rtt.toFixed(1), loaded: (loaded ?? rtt).toFixed(1), rate: (rate / 1e6).toFixed(1), loss: loss.toFixed(1),
      lossy: loadedLoss.toFixed(1), a: relayed[0], b: relayed[1] ?? '?',
    };
    this.words.append(h('p', { say: ['lane.good', values] }), h('p', { class: 'soft small', say: ['lane.by', values] }));
    if (loss > 2) this.words.append(h('p', { class: 'note warn', say: 'lane.lossy' }));
  }

  #bad({ failed, errors, relayed }) {
    const { h } = this.ctx;
    const lines = [h('p', { class: 'note bad', say: [`lane.failed-${failed}`, { a: relayed[0], b: relayed[1] ?? '?' }] })];
    const codes = new Map(errors.map((error) => [error.errorCode, error]));
    for (const error of codes.values()) {
      lines.push(h('p', { say: errorWords(error) }));
      if (error.errorText) lines.push(h('p', { class: 'soft small', say: ['error.said', { text: `${error.errorCode} ${error.errorText}` }] }));
    }
    if (failed === 'relay' && codes.size === 0) lines.push(h('p', { say: tellsErrors() ? `error.silent-${this.place.way}` : 'error.unsaid' }));
    this.words.append(...lines);
  }
}

function sum(list, name) {
  return list.reduce((total, entry) => total + entry[name], 0);
}
