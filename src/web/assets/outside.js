// Is the relay reached from outside? One end of a call is on the relay, the other comes to it directly.

import { connect, selectedPair, until } from './gather.js';
import { isPrivate, readCandidate, stunServers } from './servers.js';

const CONNECT = 12_000;

/**
 * Calls from a relayed address of `server` to this browser without a relay. Resolves to { reached, relay, near, remote }:
 * whether the direct end came through to the relay's port, the relayed address, whether both are in one network (the
 * server then sees a private address, which it does not relay to), and the direct end's type as the relay has seen it.
 */
export async function fromOutside(server, servers, signal) {
  const a = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: 'relay' });
  const b = new RTCPeerConnection({ iceServers: asStun(server, servers) });
  const seen = { a: [], b: [] };
  try {
    const channel = a.createDataChannel('outside');
    await connect(a, b, (from, candidate) => {
      const read = readCandidate({ candidate });
      seen[from].push(read);
      return read.protocol === 'udp';
    });
    const opened = () => channel.readyState === 'open';
    const reached = await until(channel, ['open'], opened, CONNECT, signal);
    const pair = reached ? await selectedPair(a) : null;
    const [relay] = seen.a;
    const far = ({ hidden, address }) => !hidden && !isPrivate(address) && address !== relay?.address;
    const near = !seen.b.some(far);
    return { reached, near, relay, remote: pair?.remote?.candidateType, seen: seen.b };
  } finally {
    a.close();
    b.close();
  }
}

/** STUN alone: what is listed as such, and the TURN server's own address, which answers STUN as well. */
function asStun({ urls }, servers) {
  const own = urls[0].replace(/^turns?:/, 'stun:').replace(/\?.*$/, '');
  const listed = stunServers(servers);
  return listed.length > 0 ? listed : [{ urls: own }];
}

export class Outside {
  constructor(ctx, server, servers) {
    Object.assign(this, { ctx, server, servers });
    this.node = ctx.h('p', { class: 'note', id: 'test-outside', say: 'outside.runs' });
  }

  /** Resolves to 'good', 'bad', or 'info' when it cannot be told. */
  async run(signal) {
    const { reached, near, relay } = await fromOutside(this.server, this.servers, signal);
    const state = reached ? 'good' : near ? 'info' : 'bad';
    const hidden = state === 'bad' && relay && isPrivate(relay.address);
    this.node.classList.add(state);
    this.node.dataset.state = state;
    this.ctx.say(this.node, hidden ? 'outside.private' : `outside.${state}`, { relay: relay ? `${relay.address}:${relay.port}` : '?' });
    return state;
  }
}
