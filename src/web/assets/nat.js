// The NAT tab: what stands between this browser and the Internet, and what that means for calls.

import { look } from './look.js';
import { readUrl } from './servers.js';

const STATES = { open: 'good', cone: 'good', symmetric: 'warn', unknown: 'info', near: 'info', blocked: 'warn', nothing: 'bad' };

/** How a call goes with a peer of each kind: 'direct', 'mostly' direct, or by 'relay'. */
const PEERS = ['open', 'cone', 'symmetric', 'blocked'];
const CALLS = {
  open: ['direct', 'direct', 'direct', 'relay'],
  cone: ['direct', 'direct', 'mostly', 'relay'],
  symmetric: ['direct', 'mostly', 'relay', 'relay'],
  blocked: ['relay', 'relay', 'relay', 'relay'],
};

export function mount(root, ctx) {
  const { h, say } = ctx;
  const button = h('button', { class: 'main', type: 'button', id: 'nat-run', say: 'nat.run' });
  const state = h('span', { class: 'soft', role: 'status' });
  const second = h('input', { type: 'text', id: 'nat-second', hint: 'nat.second-hint', autocapitalize: 'off', spellcheck: 'false' });
  const results = h('div', { class: 'view', id: 'nat-results' });
  root.append(
    h('div', { class: 'lead' }, h('h1', { say: 'nat.title' }), h('p', { say: 'nat.lead' })),
    h('div', { class: 'card' }, h('div', { class: 'row' }, button, state),
      h('details', {}, h('summary', { say: 'nat.second' }),
        h('div', { class: 'view' }, h('p', { class: 'soft small', say: 'nat.second-why' }), second))),
    results, limits(ctx));
  button.addEventListener('click', async () => {
    button.disabled = true;
    root.dataset.state = 'running';
    results.replaceChildren();
    const tell = (stage) => state.replaceChildren(h('span', { class: 'row' }, h('span', { class: 'spin' }),
      h('span', { say: `nat.doing-${stage}` })));
    try {
      const sight = await look(await ctx.ice(), checked(ctx, second.value.trim()), tell);
      results.append(...shown(ctx, sight));
      root.dataset.state = sight.verdict;
    } catch (error) {
      root.dataset.state = 'failed';
      results.append(h('p', { class: 'card note bad', role: 'alert' }, error.message));
    }
    state.replaceChildren();
    button.disabled = false;
    say(button, 'nat.again');
  });
}

function checked(ctx, url) {
  if (url && readUrl(url)?.kind !== 'stun') throw new Error(ctx.t('nat.not-stun', { url }));
  return url;
}

function shown(ctx, sight) {
  const { h } = ctx;
  const state = STATES[sight.verdict];
  const verdict = h('div', { class: `card verdict ${state}`, id: 'nat-verdict', 'data-verdict': sight.verdict },
    h('h2', { class: `${state}-text`, say: `nat.is-${sight.verdict}` }), h('p', { say: `nat.so-${sight.verdict}` }),
    sight.silent && h('p', { class: 'warn-text small', id: 'nat-silent', say: 'nat.second-silent' }),
    sight.verdict === 'cone' && sight.alone && h('p', { class: 'soft small', say: 'nat.alone' }));
  return [verdict, facts(ctx, sight), CALLS[sight.verdict] && calls(ctx, sight.verdict)].filter(Boolean);
}

function facts(ctx, { outer, own, hidden, udp, tcp, ip6, mapping }) {
  const { h } = ctx;
  const yes = (fact, name) => h('span', { class: fact ? '' : 'soft', say: `nat.${name}-${fact ? 'yes' : 'no'}` });
  const addresses = (list, none) => (list.length > 0
    ? h('span', { class: 'address' }, list.join(', ')) : h('span', { class: 'soft', say: none }));
  const rows = [
    ['nat.outer', addresses(outer, 'nat.outer-none')],
    ['nat.own', addresses(own, hidden ? 'nat.own-hidden' : 'nat.own-none')],
    ['nat.mapping', h('span', { say: `nat.mapping-${mapping}` })],
    ['nat.udp', yes(udp, 'udp')],
    ['nat.tcp', yes(tcp, 'tcp')],
    ['nat.ip6', yes(ip6, 'ip6')],
  ];
  return h('div', { class: 'card' }, h('h2', { say: 'nat.facts' }),
    h('dl', { class: 'facts' }, ...rows.flatMap(([name, value]) => [h('dt', { say: name }), h('dd', {}, value)])));
}

function calls(ctx, verdict) {
  const { h } = ctx;
  const chips = { direct: 'good', mostly: 'accent', relay: 'warn' };
  return h('div', { class: 'card' }, h('h2', { say: 'nat.calls' }),
    h('ul', { class: 'peers' }, ...PEERS.map((peer, place) => {
      const how = CALLS[verdict][place];
      return h('li', {}, h('span', { say: `nat.peer-${peer}` }),
        h('span', { class: `chip ${chips[how]}`, say: how === 'mostly' ? `nat.mostly-${verdict}` : `nat.${how}` }));
    })));
}

/** What no page can find out, and the command that can. */
function limits(ctx) {
  const { h } = ctx;
  return h('div', { class: 'card' }, h('h2', { say: 'nat.more' }), h('p', { class: 'soft', say: 'nat.more-why' }),
    h('pre', {}, `turnwire nat stun:${location.hostname || 'HOST'}`));
}
