// Runs in a browser's page, for each URI: two peer connections, relay candidates only, messages over a data channel and
// back.
'use strict';

async function call(uri, told) {
  const options = {
    iceServers: [{ urls: uri, username: told.user, credential: told.password }],
    iceTransportPolicy: 'relay',
  };
  const [a, b] = [new RTCPeerConnection(options), new RTCPeerConnection(options)];
  const [errors, refusals] = [[], []];
  for (const [from, to] of [[a, b], [b, a]]) {
    from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
    // One of several interfaces may have no way there.
    from.onicecandidateerror = (event) => refusals.push(`${event.url}: ${event.errorCode} ${event.errorText}`);
  }
  const channel = a.createDataChannel('calls');
  const opened = new Promise((open) => { channel.onopen = open; });
  const other = new Promise((got) => { b.ondatachannel = (event) => got(event.channel); });
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const gone = new Promise((_, no) => setTimeout(() => no(new Error(`no connection: ${refusals.join('; ') || 'no reason'}`)), 15000));
  await Promise.race([opened, gone]);
  const echo = await other;
  echo.onmessage = ({ data }) => echo.send(data);
  let back = 0;
  await Promise.race([gone, new Promise((done) => {
    channel.onmessage = ({ data }) => {
      if (data !== `${back} `.padEnd(1000, 'x')) errors.push(`message ${back} came back as another`);
      back += 1;
      if (back === told.messages) done();
    };
    for (let number = 0; number < told.messages; number += 1) channel.send(`${number} `.padEnd(1000, 'x'));
  })]);
  const ways = [];
  for (const peer of [a, b]) {
    const stats = await peer.getStats();
    const entries = [...stats.values()];
    const transport = entries.find((entry) => entry.type === 'transport');
    // Firefox has no such entry, and marks the pair.
    const pair = transport ? stats.get(transport.selectedCandidatePairId) : entries.find((entry) => entry.selected);
    const local = stats.get(pair.localCandidateId);
    ways.push({ type: local.candidateType, protocol: local.relayProtocol, url: local.url });
  }
  a.close();
  b.close();
  if (errors.length) throw new Error(errors.join('; '));
  return { back, ways };
}

// The page sees the text of this one only, so that the other has to be within.
module.exports = `async (told) => {
  ${call}
  const facts = [];
  for (const uri of told.uris) facts.push(await call(uri, told));
  return facts;
}`;
