// What the URLs of iceServers say, candidates and errors of gathering in words. Nothing here touches the page.

/**
 * @typedef {object} Place
 * @property {string} url as it was given
 * @property {'stun'|'turn'} kind
 * @property {'udp'|'tcp'|'tls'|'dtls'} way how the server is spoken to
 * @property {string} host
 * @property {number} port
 */

/** Reads a stun:, turn: or turns: URL (RFC 7064, RFC 7065). Null if it is none. */
export function readUrl(url) {
  const parts = /^(stuns?|turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(\w+))?$/i.exec(url.trim());
  if (!parts) return null;
  const [scheme, host] = [parts[1].toLowerCase(), parts[2]];
  const secure = scheme.endsWith('s');
  const over = (parts[4] ?? (secure ? 'tcp' : 'udp')).toLowerCase();
  const way = secure ? { tcp: 'tls', udp: 'dtls' }[over] : over;
  const port = Number(parts[3] ?? (secure ? 5349 : 3478));
  return { url: url.trim(), kind: scheme.replace(/s$/, ''), way, host, port };
}

/** One entry for each URL, so that each can be tried alone. */
export function single(servers) {
  return servers.flatMap((server) => [server.urls].flat().map((url) => ({ ...server, urls: [url] })));
}

/** The TURN servers among them, each with its Place; the same way to the same place once. */
export function turnServers(servers) {
  const seen = new Set();
  return single(servers).flatMap((server) => {
    const place = readUrl(server.urls[0]);
    if (place?.kind !== 'turn' || !place.way) return [];
    const name = `${place.way} ${place.host} ${place.port}`;
    if (seen.has(name)) return [];
    seen.add(name);
    return [{ server, place }];
  });
}

/** URLs at which the server is asked for our address. */
export function stunServers(servers) {
  const stun = single(servers).filter((server) => readUrl(server.urls[0])?.kind === 'stun');
  return stun.map(({ urls }) => ({ urls }));
}

/** A candidate, read: type, protocol, address, port, the way its relay was got, whether its address is hidden. */
export function readCandidate(event) {
  const { candidate } = event;
  // Firefox names neither type nor address in some versions: the line says all.
  const words = candidate.candidate.split(' ');
  const related = words.indexOf('raddr');
  const type = candidate.type ?? words[words.indexOf('typ') + 1];
  // Chromium has IPv6 addresses in brackets here.
  const address = (candidate.address ?? words[4]).replace(/^\[|\]$/g, '');
  const url = candidate.url ?? event.url ?? '';
  return {
    type,
    protocol: (candidate.protocol ?? words[2]).toLowerCase(),
    address,
    port: Number(candidate.port ?? words[5]),
    /** Chromium leaves it out for UDP, and Firefox names neither it nor the server: then nobody knows. */
    way: type === 'relay' ? candidate.relayProtocol ?? readUrl(url)?.way : undefined,
    related: related > 0 ? `${words[related + 1]}:${words[related + 3]}` : '',
    hidden: address.endsWith('.local'),
    url,
    line: candidate.candidate,
  };
}

/** ADDRESS:PORT, an IPv6 address in brackets; it may have them already. */
export function withPort(address, port) {
  return address.includes(':') && !address.startsWith('[') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Whether an address has no meaning outside its own network. */
export function isPrivate(address) {
  const text = address.toLowerCase();
  if (text.includes(':')) return /^(fe[89ab]|f[cd]|::1$)/.test(text);
  const [a, b] = text.split('.').map(Number);
  return a === 10 || a === 127 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168)
    || (a === 169 && b === 254) || (a === 100 && b >= 64 && b < 128);
}

/** Whether this browser tells what servers have answered: not all do. */
export function tellsErrors() {
  return 'onicecandidateerror' in RTCPeerConnection.prototype;
}

/** The key of the words for an error of gathering (RTCPeerConnectionIceErrorEvent). */
export function errorWords({ errorCode, errorText, url }) {
  const way = readUrl(url ?? '')?.way ?? 'udp';
  if (errorCode === 701) {
    if (/lookup|resolve/i.test(errorText)) return 'error.name';
    return { udp: 'error.silent-udp', tcp: 'error.silent-tcp', tls: 'error.silent-tls' }[way] ?? 'error.silent-udp';
  }
  const known = [300, 400, 401, 403, 437, 438, 440, 441, 442, 486, 500, 508];
  return known.includes(errorCode) ? `error.${errorCode}` : 'error.other';
}
