// A call of this page with itself, both ends through one TURN server and by nothing else: round trips, loss, throughput.

import { connect, pause, readError, selectedPair, until } from './gather.js';
import { readCandidate, withPort } from './servers.js';

/** How long the ends may wait for one another, in milliseconds. */
const CONNECT = 15_000;
/** Pings alone, then pings under load. */
const QUIET = 3_000;
const LOAD = 3_000;
/** One ping so often; one that is not back after so long is lost. */
const EVERY = 40;
const LOST = 1_500;
/** What a run carries at most, in bytes: somebody pays for it. */
const CARGO = 24 * 1024 * 1024;
const CHUNK = 16 * 1024;
const AHEAD = 512 * 1024;

/**
 * Calls itself through `server` (an RTCIceServer with one URL), whose relays are waited for `patience` milliseconds. `tell`
 * gets, as they come:
 * { stage: 'relay'|'connect'|'quiet'|'load' }, { relayed: 'ADDRESS:PORT' }, { error },
 * { ping, at }, { lost: true, at } (milliseconds), { rate, at } (bits per second; `at` counts from the first ping).
 * Resolves to { ok, failed?: stage, errors, relayed, loss, loadedLoss (percent), rtt, loaded (milliseconds), rate, bytes, pair }:
 * what is called loaded was seen while the line was full.
 */
export async function loopCall(server, tell, patience, signal) {
  const call = new Loop(server, tell, signal);
  try {
    return await call.run(patience);
  } finally {
    call.close();
  }
}

class Loop {
  constructor(server, tell, signal) {
    Object.assign(this, { tell, signal, errors: [], relayed: [], gathered: 0, pending: new Map(), rtts: [[], []], sent: 0,
      lost: [0, 0] });
    const settings = { iceServers: [server], iceTransportPolicy: 'relay' };
    [this.a, this.b] = [new RTCPeerConnection(settings), new RTCPeerConnection(settings)];
    for (const pc of [this.a, this.b]) this.#watch(pc);
    this.pings = this.a.createDataChannel('pings', { ordered: false, maxRetransmits: 0 });
    this.bulk = this.a.createDataChannel('bulk');
    this.b.addEventListener('datachannel', ({ channel }) => this.#answer(channel));
  }

  close() {
    clearInterval(this.pinging);
    this.a.close();
    this.b.close();
  }

  #watch(pc) {
    pc.addEventListener('icecandidate', (event) => {
      if (!event.candidate?.candidate) return;
      const { address, port } = readCandidate(event);
      this.relayed.push(withPort(address, port));
      this.tell({ relayed: this.relayed.at(-1) });
    });
    pc.addEventListener('icecandidateerror', (event) => {
      this.errors.push(readError(event));
      this.tell({ error: this.errors.at(-1) });
    });
    pc.addEventListener('icegatheringstatechange', () => {
      if (pc.iceGatheringState === 'complete') this.gathered += 1;
    });
  }

  /** The far end sends pings back, and counts what is sent in bulk. */
  #answer(channel) {
    channel.binaryType = 'arraybuffer';
    channel.addEventListener('message', ({ data }) => {
      if (channel.label === 'pings') channel.send(data);
      else this.#arrived(data.byteLength);
    });
  }

  async run(patience) {
    this.tell({ stage: 'relay' });
    await connect(this.a, this.b);
    const both = () => this.relayed.length >= 2 || this.gathered === 2;
    await this.#either(['icecandidate', 'icegatheringstatechange'], both, patience);
    if (this.relayed.length === 0) return this.#result('relay');
    this.tell({ stage: 'connect' });
    const opened = () => this.pings.readyState === 'open' && this.bulk.readyState === 'open';
    const failed = () => [this.a, this.b].some(({ iceConnectionState }) => iceConnectionState === 'failed');
    const waits = [this.pings, this.bulk].map((channel) => until(channel, ['open'], opened, CONNECT, this.signal));
    await Promise.race([...waits, this.#either(['iceconnectionstatechange'], failed, CONNECT)]);
    if (!opened()) return this.#result('connect');
    const pair = await selectedPair(this.a);
    this.#startPings();
    this.tell({ stage: 'quiet' });
    await pause(QUIET, this.signal);
    if (this.rtts[0].length === 0) return this.#result('quiet', pair);
    this.tell({ stage: 'load' });
    await this.#load();
    clearInterval(this.pinging);
    const back = Date.now() + LOST;
    while (this.pending.size > 0 && Date.now() < back) await pause(EVERY, this.signal);
    this.#countLost(0);
    return this.#result(undefined, pair);
  }

  #either(events, test, milliseconds) {
    return Promise.race([this.a, this.b].map((pc) => until(pc, events, test, milliseconds, this.signal)));
  }

  #startPings() {
    this.began = performance.now();
    this.pings.binaryType = 'arraybuffer';
    this.pings.addEventListener('message', ({ data }) => {
      const number = new DataView(data).getUint32(0);
      const ping = this.pending.get(number);
      if (!ping) return;
      this.pending.delete(number);
      const rtt = performance.now() - ping.sent;
      this.rtts[ping.loaded ? 1 : 0].push(rtt);
      this.tell({ ping: rtt, at: ping.sent - this.began });
    });
    this.pinging = setInterval(() => this.#ping(), EVERY);
  }

  #ping() {
    this.#countLost(LOST);
    if (this.pings.readyState !== 'open') return;
    const data = new ArrayBuffer(64);
    new DataView(data).setUint32(0, this.sent);
    this.pending.set(this.sent, { sent: performance.now(), loaded: Boolean(this.loading) });
    this.sent += 1;
    this.pings.send(data);
  }

  #countLost(age) {
    for (const [number, { sent, loaded }] of this.pending) {
      if (performance.now() - sent < age) break;
      this.pending.delete(number);
      this.lost[loaded ? 1 : 0] += 1;
      this.tell({ lost: true, at: sent - this.began });
    }
  }

  /** Sends as much as gets through, for a while. */
  async #load() {
    this.loading = { from: performance.now(), bytes: 0, queued: 0, told: 0, tick: performance.now() };
    const chunk = new Uint8Array(CHUNK);
    // Not compressible on its way, should anything try.
    crypto.getRandomValues(chunk);
    const end = this.loading.from + LOAD;
    const fill = () => {
      while (this.bulk.readyState === 'open' && this.bulk.bufferedAmount < AHEAD && this.loading.queued < CARGO
        && performance.now() < end) {
        this.bulk.send(chunk);
        this.loading.queued += CHUNK;
      }
    };
    this.bulk.bufferedAmountLowThreshold = AHEAD / 2;
    this.bulk.addEventListener('bufferedamountlow', fill, { signal: this.signal });
    fill();
    while (performance.now() < end && this.loading.bytes < CARGO) await pause(EVERY, this.signal);
    this.loading.until = performance.now();
  }

  #arrived(bytes) {
    const { loading } = this;
    if (loading.until) return;
    const now = performance.now();
    loading.bytes += bytes;
    if (now - loading.tick < 100) return;
    const rate = (loading.bytes - loading.told) * 8000 / (now - loading.tick);
    Object.assign(loading, { told: loading.bytes, tick: now });
    this.tell({ rate, at: now - this.began });
  }

  #result(failed, pair) {
    const { errors, relayed, lost, loading, rtts } = this;
    const rate = loading?.bytes ? loading.bytes * 8000 / (loading.until - loading.from) : 0;
    return {
      ok: !failed, failed, errors, relayed, loss: share(lost[0], rtts[0]), loadedLoss: share(lost[1], rtts[1]),
      rtt: middle(rtts[0]), loaded: middle(rtts[1]), rate, bytes: loading?.bytes ?? 0, pair,
    };
  }
}

/** Percent of what was sent. */
function share(lost, back) {
  return lost + back.length ? 100 * lost / (lost + back.length) : 0;
}

/** The median. */
function middle(values) {
  return values.length ? [...values].sort((a, b) => a - b)[values.length >> 1] : undefined;
}
