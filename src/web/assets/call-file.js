// A file over a data channel, with a hash at its end that the other side computes for itself.

import { Sha256 } from './sha256.js';

/** What every browser takes in one message. */
const PIECE = 16 << 10;
/** Bytes that may wait in the channel. */
const AHEAD = 1 << 20;
/** The longest file, in bytes: what comes is kept in memory. */
const LONGEST = 256 << 20;
/** What is taken without a question, in bytes: the sample. */
export const SAMPLE = 10 << 20;

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
  #asked;
  #coming;

  /**
   * `tell` is told how it goes: { way: 'out' | 'in', state, name, size, done, ... }; with the state 'asked' of one that
   * comes, `answer(true)` takes it.
   */
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
    if (!this.ready) return undefined;
    const out = { way: 'out', name: file.name, size: file.size, done: 0, began: performance.now() };
    this.#sending = out;
    if (file.size > LONGEST) return this.#end(out, 'long');
    const taken = new Promise((answer) => { out.answered = answer; });
    this.#tell({ ...out, state: 'asked' });
    this.#say({ file: { name: file.name, size: file.size } });
    if (!await taken) return undefined;
    out.began = performance.now();
    const hash = new Sha256();
    for (let at = 0; at < file.size; at += PIECE) {
      const piece = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
      await this.#room();
      if (this.#sending !== out) return undefined;
      hash.update(piece);
      this.#channel.send(piece);
      out.done = at + piece.length;
      this.#tell({ ...out, state: 'going' });
    }
    out.sha256 = hash.hex();
    this.#say({ end: { sha256: out.sha256 } });
    return undefined;
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
    const { file, take, end, got } = JSON.parse(data);
    if (file) this.#ask(file);
    if (take !== undefined && this.#sending) this.#taken(take === true);
    if (end && this.#coming) this.#arrived(end);
    if (got && this.#sending) this.#answered(got);
    return undefined;
  }

  /** The other side wants to send something. What is longer than the sample is not taken without a question. */
  #ask({ name, size }) {
    const file = { way: 'in', name: String(name).slice(0, 200), size: Number(size), done: 0 };
    this.#coming = undefined;
    this.#asked = file;
    const answer = (yes) => {
      if (this.#asked !== file) return;
      this.#asked = undefined;
      this.#say({ take: yes });
      if (yes) this.#begin(file);
      else this.#tell({ ...file, state: 'refused' });
    };
    if (!(Number.isInteger(file.size) && file.size >= 0 && file.size <= LONGEST)) answer(false);
    else if (file.size <= SAMPLE) answer(true);
    else this.#tell({ ...file, state: 'asked', answer });
  }

  #begin(file) {
    // All of its place at once: many small pieces would take more than they hold.
    this.#coming = { ...file, began: performance.now(), hash: new Sha256(), content: new Uint8Array(file.size) };
    this.#show('going');
  }

  #show(state) {
    const { hash, content, ...coming } = this.#coming;
    this.#tell({ ...coming, state });
  }

  #taken(yes) {
    const out = this.#sending;
    out.answered(yes);
    if (!yes) this.#end(out, 'refused');
  }

  #piece(bytes) {
    const coming = this.#coming;
    if (!coming) return;
    // The other side may say one size and send another.
    if (coming.done + bytes.length > coming.size) {
      this.#say({ got: { sha256: '', size: coming.done } });
      this.#show('broken');
      this.#coming = undefined;
      return;
    }
    coming.hash.update(bytes);
    coming.content.set(bytes, coming.done);
    coming.done += bytes.length;
    this.#show('going');
  }

  #arrived({ sha256 }) {
    const { hash, content, ...coming } = this.#coming;
    this.#coming = undefined;
    const own = hash.hex();
    this.#say({ got: { sha256: own, size: coming.done } });
    const intact = own === sha256 && coming.done === coming.size;
    const blob = intact ? new Blob([content], { type: 'application/octet-stream' }) : undefined;
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
    const out = this.#sending;
    if (out) this.#end(out, 'broken');
    out?.answered?.(false);
    if (this.#asked) this.#tell({ ...this.#asked, state: 'broken' });
    if (this.#coming) this.#show('broken');
    this.#asked = undefined;
    this.#coming = undefined;
  }
}
