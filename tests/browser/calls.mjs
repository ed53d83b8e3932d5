// A call between two pages of the tests' own: each part of it runs in a page, and what one page says goes to the other here.
import { PASSWORD, USER, eventually, must } from './harness.mjs';

/** Defined in each page: one end of a call. What it promises never takes longer than the case. */
const END = `
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

class End {
  errors = [];

  constructor(uris, policy, who) {
    const iceServers = uris.map((urls) => ({ urls, ...who }));
    this.connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: policy });
    this.connection.onicecandidateerror = ({ url, errorCode, errorText }) => this.errors.push(url + ': ' + errorCode + ' ' + errorText);
    // Both sides know the channel already: nobody has to wait for it to be told.
    this.channel = this.connection.createDataChannel('file', { negotiated: true, id: 1 });
    this.channel.binaryType = 'arraybuffer';
    this.pieces = [];
    this.bytes = 0;
    this.channel.onmessage = ({ data }) => { this.pieces.push(data); this.bytes += data.byteLength; };
  }

  /** A picture and a tone of the browser's own. */
  async media() {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 160, height: 120 }, audio: true });
    for (const track of stream.getTracks()) this.connection.addTrack(track, stream);
  }

  /** What the other side is told, with all candidates in it. */
  async told() {
    await this.connection.setLocalDescription();
    // A server that says nothing is asked for a long time.
    for (const end = Date.now() + 15000; this.connection.iceGatheringState !== 'complete' && Date.now() < end;) await sleep(20);
    return this.connection.localDescription.toJSON();
  }

  async send(size) {
    const whole = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(whole.subarray(at, Math.min(at + 65536, size)));
    for (let at = 0; at < size; at += 16384) {
      while (this.channel.bufferedAmount > 1 << 20) await sleep(5);
      this.channel.send(whole.subarray(at, Math.min(at + 16384, size)));
    }
    return digest(whole);
  }

  async received() {
    return digest(await new Blob(this.pieces).arrayBuffer());
  }

  async facts() {
    const stats = [...(await this.connection.getStats()).values()];
    const of = (id) => stats.find((entry) => entry.id === id);
    const pair = of(stats.find((entry) => entry.type === 'transport')?.selectedCandidatePairId);
    const sum = (kind, key) => stats.filter((it) => it.type === 'inbound-rtp' && it.kind === kind).reduce((all, it) => all + (it[key] ?? 0), 0);
    const local = pair && of(pair.localCandidateId);
    return {
      ice: this.connection.iceConnectionState,
      state: this.connection.connectionState,
      local: local?.candidateType,
      remote: pair && of(pair.remoteCandidateId).candidateType,
      protocol: local?.relayProtocol,
      frames: sum('video', 'framesDecoded'),
      audio: sum('audio', 'packetsReceived'),
      bytes: this.bytes,
      channel: this.channel.readyState,
      errors: this.errors,
    };
  }
}

const digest = async (bytes) => [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map((it) => it.toString(16).padStart(2, '0')).join('');
`;

const BODY = `<!doctype html><title>call</title><script>${END}</script>`;

/** Two pages, and a call between them that may or may not come about. */
export class Call {
  static async between(browsers, uris, { policy = 'relay', media = true, who = { username: USER, credential: PASSWORD } } = {}) {
    const call = new Call();
    call.pages = await Promise.all(browsers.map((browser) => browser.open('https://harness.test/', { body: BODY })));
    for (const page of call.pages) {
      await page.call('(uris, policy, who) => { window.end = new End(uris, policy, who); }', uris, policy, who);
      if (media) await page.evaluate('end.media()');
    }
    const [a, b] = call.pages;
    const accept = '(told) => end.connection.setRemoteDescription(told)';
    await b.call(accept, await a.evaluate('end.told()'));
    await a.call(accept, await b.evaluate('end.told()'));
    return call;
  }

  facts() {
    return Promise.all(this.pages.map((page) => page.evaluate('end.facts()')));
  }

  /** Waits until both ends are connected, the channel is open, and the statistics, which lag behind, name the pair. */
  async connected() {
    const done = ({ state, channel, local }) => state === 'connected' && channel === 'open' && local;
    const both = async () => (await this.facts()).every(done);
    try {
      await eventually(both, 'no call', 20);
    } catch (error) {
      throw new Error(`${error.message}: ${JSON.stringify(await this.facts())}`);
    }
  }

  /** Waits until both have seen so many more pictures of the other, and heard it. */
  async sees(frames) {
    const before = await this.facts();
    const now = await eventually(async () => {
      const facts = await this.facts();
      return facts.every((end, side) => end.frames >= before[side].frames + frames && end.audio > before[side].audio) && facts;
    }, `${frames} frames and some sound did not come each way`, 25);
    return now.map((end, side) => end.frames - before[side].frames);
  }

  /** Sends a file of so many bytes from the first to the second: it has to be the same there. */
  async file(size) {
    const [a, b] = this.pages;
    const sent = await a.call('(size) => end.send(size)', size);
    await eventually(async () => (await b.evaluate('end.bytes')) >= size, `${size} bytes did not come`, 40);
    must((await b.evaluate('end.received()')) === sent, 'the file is not what was sent');
  }

  async close() {
    for (const page of this.pages) await page.close();
  }
}
