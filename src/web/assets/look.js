// What a browser can tell of the NATs before it. Nothing here touches the page.

import { gather } from './gather.js';
import { fromOutside } from './outside.js';
import { isPrivate, single, stunServers, turnServers, withPort } from './servers.js';

/** How long a server may be silent, in milliseconds. */
const PATIENCE = 10_000;

/**
 * @typedef {object} Sight
 * @property {'open'|'cone'|'symmetric'|'unknown'|'near'|'blocked'|'nothing'} verdict
 * @property {string[]} outer ADDRESS:PORT as servers have seen us
 * @property {string[]} own addresses of this device that the browser shows
 * @property {boolean} hidden whether it hides some
 * @property {boolean} udp whether UDP gets to a server and back
 * @property {boolean} tcp whether a relay was got over TCP or TLS
 * @property {boolean} ip6 whether there is IPv6 that is valid on the Internet
 * @property {'none'|'same'|'other'|'untold'} mapping whether two places see us at the same address and port
 * @property {boolean} alone whether both places are at this one server
 * @property {boolean} silent whether a STUN server has not answered, so that the second one says nothing
 */

/**
 * Looks around: asks the servers, and `second` (a STUN URL, or ''), which stands elsewhere. `tell` gets 'gather', then
 * 'outside'. Resolves to a Sight.
 */
export async function look(servers, second, tell, signal) {
  tell('gather');
  const stuns = [...stunServers(servers), ...(second ? [{ urls: [second] }] : [])];
  const turns = single(servers).filter(({ urls }) => /^turns?:/i.test(urls[0]));
  const [seen, errors] = [[], []];
  const note = ({ candidate }) => candidate && seen.push(candidate);
  const all = gather([...stuns, ...turns], note, PATIENCE, signal);
  // By themselves, so that a relay that does not answer is not taken for a STUN server that does not.
  const witnesses = second && gather(stuns, ({ error }) => error && errors.push(error), PATIENCE, signal);
  const [, asked] = await Promise.all([all, witnesses]);
  tell('outside');
  const silent = Boolean(second) && (!asked.complete || errors.length > 0);
  const mapping = second ? bySecond(seen, silent) : 'untold';
  const way = only(seen, 'relay').some((one) => (one.way ?? 'udp') === 'udp');
  const relay = way && turnServers(servers).find(({ place }) => place.way === 'udp');
  const outside = relay ? await fromOutside(relay.server, servers, signal) : null;
  return { ...judge(seen, outside, mapping), silent: silent && mapping === 'untold' };
}

/** Two STUN servers asked from the same sockets: one address and port for both, or one for each. */
function bySecond(seen, silent) {
  const reflexive = only(seen, 'srflx');
  if (reflexive.length === 0) return 'untold';
  // What is the same for both is told once; so more of them than sockets means that they differ.
  for (const six of [false, true]) {
    const family = ({ address }) => address.includes(':') === six;
    const sockets = only(seen, 'host').filter((one) => one.protocol === 'udp' && (one.hidden || family(one)));
    const ports = new Set(reflexive.filter(family).map(({ address, port }) => withPort(address, port)));
    if (ports.size > Math.max(1, sockets.length)) return 'other';
  }
  return silent ? 'untold' : 'same';
}

function judge(seen, outside, asked) {
  const reflexive = only(seen, 'srflx');
  const host = only(seen, 'host').filter(({ protocol }) => protocol === 'udp');
  const shown = host.filter(({ hidden }) => !hidden);
  const relays = only(seen, 'relay');
  const udp = reflexive.length > 0 || relays.some(({ way }) => (way ?? 'udp') === 'udp');
  const tcp = relays.some(({ way }) => way === 'tcp' || way === 'tls') || relays.filter(({ way }) => !way).length > 1;
  const mapping = asked === 'untold' ? byRelay(outside) : asked;
  const found = verdict({ udp, tcp, mapping, behind: reflexive.length > 0, outside });
  return {
    verdict: found,
    alone: asked === 'untold',
    outer: unique(reflexive.map(({ address, port }) => withPort(address, port))),
    own: unique(shown.map(({ address }) => address)),
    hidden: host.some(({ hidden }) => hidden),
    udp, tcp,
    mapping: found === 'open' ? 'none' : mapping,
    ip6: [...shown, ...reflexive].some(({ address }) => address.includes(':') && !isPrivate(address)),
  };
}

/**
 * The relay is a second observer: an end that comes to its port from the address and port that STUN has told of is known
 * there; one that comes from another is new to it.
 */
function byRelay(outside) {
  if (!outside?.reached || !outside.seen.some(({ type }) => type === 'srflx')) return 'untold';
  return { srflx: 'same', prflx: 'other' }[outside.remote] ?? 'untold';
}

function verdict({ udp, tcp, mapping, behind, outside }) {
  if (!udp) return tcp ? 'blocked' : 'nothing';
  if (outside?.near) return 'near';
  if (!behind) return outside?.reached ? 'open' : 'near';
  return { same: 'cone', other: 'symmetric', untold: 'unknown' }[mapping];
}

function only(seen, type) {
  return seen.filter((candidate) => candidate.type === type);
}

function unique(list) {
  return [...new Set(list)];
}
