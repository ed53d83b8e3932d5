// A file over a data channel, with a hash at its end that the other side computes for itself.

import { Sha256 } from './sha256.js';

/** What every browser takes in one message. */
const PIECE = 16 << 10;
/** Bytes that may wait in the channel. */
const AHEAD = 1 << 20;
/** The longest file, in bytes: what comes is kept in memory. */
const LONGEST = 256 << 20;

/** A file of random bytes, which nothing on the way can compress or guess. */
export function sample(bytes) {
  const content = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65536) crypto.getRandomValues(content.subarray(at, Math.min(at + 65536, bytes)));
  return new File([content], 'turnwire-sample.bin', { type: 'application/octet-stream' });
}

export class Files {
  #channel;
  #tell;
  #sending;
  #coming;

  /** `tell` is told how it goes: { way: 'out' | 'in', state, name, size, done, ... }. */
  constructor(channel, tell) {
    this.#channel = channel;
    this.#tell = tell;
    channel.bufferedAmountLowThreshold = AHEAD / 2;
    channel.addEventListener('message', ({ data }) => this.#hear(data));
    channel.addEventListener('close', () => this.#closed());
  }

  get ready() {
    return this.#channel.readyState === 'open' && !this.#sending;
  }

  async send(file) {
    if (!this.ready) return;
    const out = { way: 'out', name: file.name, size: file.size, done: 0, began: performance.now() };
    this.#sending = out;
    if (file.size > LONGEST) return this.#end(out, 'long');
    this.#say({ file: { name: file.name, size: file.size, kind: file.type } });
    const hash = new Sha256();
    for (let at = 0; at < file.size; at += PIECE) {
      const piece = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
      await this.#room();
      if (this.#sending !== out) return;
      hash.update(piece);
      this.#channel.send(piece);
      out.done = at + piece.length;
      this.#tell({ ...out, state: 'going' });
    }
    out.sha256 = hash.hex();
    this.#say({ end: { sha256: out.sha256 } });
  }

  #room() {
    if (this.#channel.bufferedAmount < AHEAD || this.#channel.readyState !== 'open') return undefined;
    return new Promise((resolve) => {
      const go = () => {
        this.#channel.removeEventListener('bufferedamountlow', go);
        this.#channel.removeEventListener('close', go);
        resolve();
      };
      this.#channel.addEventListener('bufferedamountlow', go);
      this.#channel.addEventListener('close', go);
    });
  }

  #say(message) {
    if (this.#channel.readyState === 'open') this.#channel.send(JSON.stringify(message));
  }

  #hear(data) {
    if (typeof data !== 'string') return this.#piece(new Uint8Array(data));
    const { file, end, got } = JSON.parse(data);
    if (file) this.#begin(file);
    if (end && this.#coming) this.#arrived(end);
    if (got && this.#sending) this.#answered(got);
    return undefined;
  }

  #begin({ name, size, kind }) {
    this.#coming = {
      way: 'in', name: String(name).slice(0, 200), size: Number(size), kind: String(kind), done: 0,
      began: performance.now(), hash: new Sha256(), pieces: [],
    };
    this.#tell({ ...this.#coming, state: 'going' });
  }

  #piece(bytes) {
    const coming = this.#coming;
    if (!coming) return;
    coming.done += bytes.length;
    // The other side may say one size and send another.
    if (coming.done > coming.size || coming.done > LONGEST) {
      this.#coming = undefined;
      this.#say({ got: { sha256: '', size: coming.done } });
      this.#tell({ ...coming, state: 'broken' });
      return;
    }
    coming.hash.update(bytes);
    coming.pieces.push(bytes);
    this.#tell({ ...coming, state: 'going' });
  }

  #arrived({ sha256 }) {
    const { hash, pieces, ...coming } = this.#coming;
    this.#coming = undefined;
    const own = hash.hex();
    this.#say({ got: { sha256: own, size: coming.done } });
    const intact = own === sha256 && coming.done === coming.size;
    const blob = intact ? new Blob(pieces, { type: 'application/octet-stream' }) : undefined;
    this.#tell({ ...coming, state: intact ? 'intact' : 'broken', sha256: own, took: performance.now() - coming.began, blob });
  }

  #answered({ sha256, size }) {
    const out = this.#sending;
    const intact = sha256 === out.sha256 && size === out.size;
    this.#end(out, intact ? 'intact' : 'broken');
  }

  #end(out, state) {
    this.#sending = undefined;
    this.#tell({ ...out, state, took: performance.now() - out.began });
  }

  #closed() {
    if (this.#sending) this.#end(this.#sending, 'broken');
    if (this.#coming) this.#tell({ ...this.#coming, state: 'broken' });
    this.#coming = undefined;
  }
}
