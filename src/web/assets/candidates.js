// The list of candidates as they trickle in, each with what it means.

import { errorWords, isPrivate, readUrl, withPort } from './servers.js';

export class CandidateList {
  constructor(ctx, servers) {
    Object.assign(this, { ctx, servers, seen: [], errors: [], told: new Map() });
    this.list = ctx.h('ol', { class: 'candidates' });
    this.end = ctx.h('p', { class: 'soft small' });
    this.node = ctx.h('div', { class: 'view' }, this.list, this.end);
  }

  add({ candidate, error, at }) {
    if (candidate) this.#candidate(candidate, at);
    else this.#error(error, at);
  }

  /** Says who was asked and gave nothing. */
  finish(complete, took) {
    this.ctx.say(this.end, complete ? 'gather.done' : 'gather.late', { n: this.seen.length, s: (took / 1000).toFixed(1) });
    for (const [url, { entry }] of this.told) {
      // One address family or network of several failed: the server was reached by another.
      if (this.seen.some((candidate) => candidate.url === url)) {
        entry.classList.replace('bad', 'mild');
        this.ctx.say(entry.querySelector('.meaning'), 'error.all-the-same');
      }
    }
  }

  /** Whether a relay was had there. Browsers that name no server name the way. */
  gave({ url, way }) {
    return this.seen.some((candidate) => candidate.type === 'relay' && (candidate.url ? candidate.url === url : !candidate.way || candidate.way === way));
  }

  #candidate(candidate, at) {
    const { h } = this.ctx;
    const { address, port, ...rest } = candidate;
    this.seen.push({ ...rest, address, port, at: Math.round(at) });
    const from = readUrl(candidate.url);
    this.list.append(h('li', { class: `candidate ${candidate.protocol === 'tcp' ? 'mild' : ''}`, 'data-type': candidate.type, 'data-way': candidate.way },
      h('div', { class: 'row' },
        h('span', { class: `chip ${CHIPS[candidate.type] ?? ''}`, say: `type.${candidate.type}` }),
        h('span', { class: 'address' }, withPort(candidate.hidden ? `${address.slice(0, 8)}….local` : address, port)),
        h('span', { class: 'chip', say: `way.${candidate.way ?? candidate.protocol}` }),
        h('span', { class: 'soft small push' }, `${Math.round(at)} ms`)),
      h('p', { class: 'meaning', say: meaning(candidate, from) }),
      from && candidate.type !== 'host' && h('p', { class: 'soft small address' }, candidate.url),
      h('details', {}, h('summary', { class: 'small', say: 'gather.line' }), h('pre', {}, candidate.line))));
  }

  #error(error, at) {
    const { h } = this.ctx;
    this.errors.push({ ...error, at: Math.round(at) });
    const known = this.told.get(error.url);
    if (known && known.code === error.errorCode) return;
    const entry = h('li', { class: 'candidate bad', 'data-error': error.errorCode },
      h('div', { class: 'row' },
        h('span', { class: 'chip bad', say: ['gather.error', { code: error.errorCode }] }),
        h('span', { class: 'address' }, error.url),
        h('span', { class: 'soft small push' }, `${Math.round(at)} ms`)),
      h('p', { class: 'meaning', say: errorWords(error) }),
      error.errorText && h('p', { class: 'soft small', say: ['error.said', { text: error.errorText }] }));
    this.told.set(error.url, { code: error.errorCode, entry });
    this.list.append(entry);
  }
}

const CHIPS = { host: '', srflx: 'accent', prflx: 'accent', relay: 'good' };

function meaning(candidate, from) {
  const server = from ? withPort(from.host, from.port) : '';
  if (candidate.type === 'host') {
    if (candidate.protocol === 'tcp') return 'means.host-tcp';
    if (candidate.hidden) return 'means.host-hidden';
    return isPrivate(candidate.address) ? 'means.host-private' : 'means.host-public';
  }
  if (candidate.type === 'srflx') return server ? ['means.srflx', { server }] : 'means.srflx-unknown';
  if (candidate.type === 'relay') {
    const key = isPrivate(candidate.address) ? 'means.relay-private' : `means.relay-${candidate.way ?? 'any'}`;
    return [key, { server: server || '?' }];
  }
  return 'means.other';
}
