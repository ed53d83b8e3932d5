// Which way a call goes, and how much went there: read from getStats.

/**
 * What is known of a connection now: the selected pair with its candidates, what went over it, and what arrived. `way` is
 * 'direct', 'own' (through this side's relay), 'other' (through the other side's), 'both', or undefined before there is a
 * pair.
 */
export async function look(pc) {
  const all = [...(await pc.getStats()).values()];
  const byId = new Map(all.map((report) => [report.id, report]));
  const transport = all.find(({ type }) => type === 'transport');
  const pair = byId.get(transport?.selectedCandidatePairId)
    ?? all.find((report) => report.type === 'candidate-pair' && (report.selected || report.nominated));
  const [local, remote] = [byId.get(pair?.localCandidateId), byId.get(pair?.remoteCandidateId)];
  const arrived = (kind) => all.find((report) => report.type === 'inbound-rtp' && report.kind === kind);
  return {
    way: pair && local && remote ? wayOf(local, remote) : undefined,
    local: local && candidate(local),
    remote: remote && candidate(remote),
    rtt: pair?.currentRoundTripTime,
    sent: pair?.bytesSent ?? 0,
    received: pair?.bytesReceived ?? 0,
    video: picture(arrived('video')),
    audio: sound(arrived('audio')),
    cipher: transport?.tlsVersion ? transport.srtpCipher ?? transport.dtlsCipher : undefined,
  };
}

function wayOf(local, remote) {
  const [own, other] = [local, remote].map(({ candidateType }) => candidateType === 'relay');
  if (own) return other ? 'both' : 'own';
  return other ? 'other' : 'direct';
}

function candidate({ candidateType, protocol, relayProtocol, address, ip, port, url }) {
  const host = address ?? ip;
  const place = host ? `${host.includes(':') ? `[${host}]` : host}:${port}` : undefined;
  return { type: candidateType, protocol, leg: relayProtocol, place, url };
}

function picture(report) {
  if (!report?.framesDecoded) return undefined;
  const { frameWidth, frameHeight, framesPerSecond, framesDecoded, packetsLost } = report;
  return { width: frameWidth, height: frameHeight, rate: framesPerSecond ?? 0, frames: framesDecoded, lost: packetsLost };
}

function sound(report) {
  if (!report?.packetsReceived) return undefined;
  return { level: report.audioLevel ?? 0, packets: report.packetsReceived, lost: report.packetsLost };
}

/** Bytes for people. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length);
  const value = bytes / 1000 ** power;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[power - 1]}`;
}
