// Gathering candidates, and two ends of a call in one page. Nothing here touches the page.

import { readCandidate } from './servers.js';

/**
 * Gathers with these servers for so long at most. `tell` gets { candidate, at } and { error, at } as they come, `at` in milliseconds since the
 * beginning. Resolves to { complete, took } when the browser has asked everybody, or nobody answers any more.
 */
export async function gather(iceServers, tell, patience, signal) {
  const pc = new RTCPeerConnection({ iceServers });
  const began = performance.now();
  const at = () => performance.now() - began;
  try {
    const done = new Promise((resolve) => {
      pc.addEventListener('icecandidate', (event) => {
        if (!event.candidate) resolve(true);
        else if (event.candidate.candidate) tell({ candidate: readCandidate(event), at: at() });
      });
    });
    pc.addEventListener('icecandidateerror', (event) => tell({ error: readError(event), at: at() }));
    pc.createDataChannel('gather');
    await pc.setLocalDescription(await pc.createOffer());
    const complete = await Promise.race([done, pause(patience, signal)]);
    return { complete: complete === true, took: at() };
  } finally {
    pc.close();
  }
}

/** What is known of an error of gathering. */
export function readError({ errorCode, errorText, url, address, port }) {
  return { errorCode, errorText, url, address, port };
}

/**
 * Connects two ends of a call with one another. `pass` says which candidates go across: (from, candidate) -> boolean, where
 * `from` is 'a' or 'b'. Descriptions go across without candidates, so that nothing else does.
 */
export async function connect(a, b, pass = () => true) {
  const across = (from, to, name) => {
    const waiting = [];
    from.addEventListener('icecandidate', ({ candidate }) => {
      if (!candidate || !candidate.candidate || !pass(name, candidate)) return;
      if (to.remoteDescription) to.addIceCandidate(candidate).catch(() => {});
      else waiting.push(candidate);
    });
    return () => waiting.splice(0).forEach((candidate) => to.addIceCandidate(candidate).catch(() => {}));
  };
  const [toB, toA] = [across(a, b, 'a'), across(b, a, 'b')];
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(bare(a.localDescription));
  toB();
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(bare(b.localDescription));
  toA();
}

function bare({ type, sdp }) {
  return { type, sdp: sdp.split('\r\n').filter((line) => !/^a=(candidate:|end-of-candidates)/.test(line)).join('\r\n') };
}

/** Waits; true at once when `test` holds after one of the events, false when the time is over. */
export function until(target, events, test, milliseconds, signal) {
  if (test()) return Promise.resolve(true);
  const stop = new AbortController();
  const held = new Promise((resolve) => {
    for (const event of events) {
      target.addEventListener(event, () => test() && resolve(true), { signal: stop.signal });
    }
  });
  return Promise.race([held, pause(milliseconds, signal)]).finally(() => stop.abort());
}

/** Resolves to false after a while; rejects when it is called off. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(() => resolve(false), milliseconds);
    signal?.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/** The pair that a connection uses: { local, remote } of getStats, or null. */
export async function selectedPair(pc) {
  const stats = await pc.getStats();
  let pair;
  stats.forEach((entry) => {
    if (entry.type === 'transport' && entry.selectedCandidatePairId) pair = stats.get(entry.selectedCandidatePairId);
  });
  // Firefox has no transport here: it marks the pair.
  stats.forEach((entry) => {
    if (!pair && entry.type === 'candidate-pair' && (entry.selected || (entry.nominated && entry.state === 'succeeded'))) {
      pair = entry;
    }
  });
  return pair ? { local: stats.get(pair.localCandidateId), remote: stats.get(pair.remoteCandidateId), pair } : null;
}
