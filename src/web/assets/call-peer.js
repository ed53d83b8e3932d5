// The call itself: one RTCPeerConnection, offered and answered by the rules of "perfect negotiation" (W3C WebRTC §10.7),
// so that both sides may begin at the same moment.

const RESTART_AFTER = 4_000;

export class Peer extends EventTarget {
  #say;
  #polite;
  #offering = false;
  #ignoring = false;
  #restart;

  /**
   * `say` carries a message to the other side; the polite side gives in when both offer at once; `tracks` are sent;
   * `relayOnly` uses nothing but relays.
   */
  constructor({ iceServers, relayOnly, polite, stream, say }) {
    super();
    this.#say = say;
    this.#polite = polite;
    this.began = performance.now();
    this.pc = new RTCPeerConnection({
      iceServers, iceTransportPolicy: relayOnly ? 'relay' : 'all', bundlePolicy: 'max-bundle',
    });
    // Both sides open it by its number, so that it needs no message of its own.
    this.files = this.pc.createDataChannel('files', { negotiated: true, id: 1 });
    this.files.binaryType = 'arraybuffer';
    this.#watch();
    for (const kind of ['audio', 'video']) {
      const track = stream.getTracks().find((track) => track.kind === kind);
      // A side without a microphone hears the other one all the same.
      if (track) this.pc.addTrack(track, stream);
      else if (!polite) this.pc.addTransceiver(kind, { direction: 'recvonly' });
    }
  }

  #watch() {
    const { pc } = this;
    pc.addEventListener('negotiationneeded', () => this.#offer());
    pc.addEventListener('icecandidate', ({ candidate }) => {
      this.#say({ type: 'new-ice-candidate', candidate: candidate?.toJSON() ?? null });
      if (candidate?.candidate) this.#tell('candidate', { side: 'own', text: candidate.candidate, url: candidate.url });
    });
    pc.addEventListener('icecandidateerror', (error) => this.#tell('fault', error));
    pc.addEventListener('track', ({ track, streams }) => this.#tell('track', { track, stream: streams[0] }));
    const states = {
      signalingstatechange: 'signalingState', icegatheringstatechange: 'iceGatheringState',
      iceconnectionstatechange: 'iceConnectionState', connectionstatechange: 'connectionState',
    };
    for (const [event, name] of Object.entries(states)) {
      pc.addEventListener(event, () => {
        this.#tell('state', { machine: name, state: pc[name], at: performance.now() - this.began });
      });
    }
    pc.addEventListener('iceconnectionstatechange', () => this.#mend());
  }

  /** A path that is lost is looked for anew, by the side that began. */
  #mend() {
    clearTimeout(this.#restart);
    const lost = { failed: 0, disconnected: RESTART_AFTER }[this.pc.iceConnectionState];
    if (lost !== undefined && !this.#polite) this.#restart = setTimeout(() => this.restart(), lost);
  }

  restart() {
    if (this.pc.signalingState !== 'closed') this.pc.restartIce();
  }

  async #offer() {
    // The second to come waits for the first one's offer, which its own tracks then answer.
    if (this.#polite && !this.pc.remoteDescription) return;
    try {
      this.#offering = true;
      await this.pc.setLocalDescription();
      this.#described('own', this.pc.localDescription);
    } catch (error) {
      this.#tell('broken', error);
    } finally {
      this.#offering = false;
    }
  }

  #described(side, { type, sdp }) {
    if (side === 'own') this.#say({ type, sdp });
    this.#tell('description', { side, type, sdp });
  }

  /** What came from the other side. */
  async hear(message) {
    try {
      if (message.type === 'new-ice-candidate') await this.#candidate(message.candidate);
      else await this.#description(message);
    } catch (error) {
      if (this.pc.signalingState !== 'closed') this.#tell('broken', error);
    }
  }

  async #description(description) {
    const { pc } = this;
    const glare = description.type === 'offer' && (this.#offering || pc.signalingState !== 'stable');
    this.#ignoring = !this.#polite && glare;
    if (this.#ignoring) return;
    await pc.setRemoteDescription(description);
    this.#described('other', description);
    if (description.type === 'offer') {
      await pc.setLocalDescription();
      this.#described('own', pc.localDescription);
    }
  }

  async #candidate(candidate) {
    try {
      await this.pc.addIceCandidate(candidate ?? undefined);
      if (candidate?.candidate) this.#tell('candidate', { side: 'other', text: candidate.candidate });
    } catch (error) {
      // Those of an offer that was set aside belong to nothing.
      if (!this.#ignoring) throw error;
    }
  }

  /** Sends other tracks in place of those of before, without a new offer. */
  async replace(stream) {
    for (const track of stream.getTracks()) {
      const sender = this.pc.getSenders().find((sender) => sender.track?.kind === track.kind);
      if (sender) await sender.replaceTrack(track);
      else this.pc.addTrack(track, stream);
    }
  }

  close() {
    clearTimeout(this.#restart);
    this.pc.close();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
