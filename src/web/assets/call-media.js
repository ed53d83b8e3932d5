// What is sent: a picture and a tone that are drawn here, the camera, or the screen.

const FRAMES = 20;
const HUES = [212, 152];
const NOTES = [[440, 554.37, 659.26], [329.63, 392, 493.88]];

/** Whether the browser gives this page a camera or a screen: only pages of localhost and of HTTPS get one. */
export function available(kind) {
  if (kind === 'synthetic') return true;
  const devices = navigator.mediaDevices;
  return Boolean(kind === 'screen' ? devices?.getDisplayMedia : devices?.getUserMedia);
}

/** A stream of `kind`, with stop(). `seat` makes the two sides of a call look and sound different. */
export async function source(kind, seat) {
  if (kind === 'synthetic') return synthetic(seat);
  const stream = kind === 'screen'
    ? await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true })
    : await camera();
  return { kind, stream, stop: () => stream.getTracks().forEach((track) => track.stop()) };
}

/** A camera, or at least a microphone. */
async function camera() {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: true, video: { width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    if (error.name !== 'NotFoundError') throw error;
    return navigator.mediaDevices.getUserMedia({ audio: true });
  }
}

function synthetic(seat) {
  const picture = draw(seat);
  const sound = play(seat);
  const stream = new MediaStream([...picture.stream.getTracks(), ...sound.stream.getTracks()]);
  return { kind: 'synthetic', stream, stop: () => { picture.stop(); sound.stop(); } };
}

function draw(seat) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [640, 360];
  const to = canvas.getContext('2d');
  const hue = HUES[(seat - 1) % HUES.length];
  let frame = 0;
  const paint = () => {
    const turn = frame / FRAMES / 6;
    const ground = to.createLinearGradient(0, 0, 640, 360);
    ground.addColorStop(0, `hsl(${hue} 62% 26%)`);
    ground.addColorStop(1, `hsl(${hue + 34} 58% 44%)`);
    to.fillStyle = ground;
    to.fillRect(0, 0, 640, 360);
    for (let ring = 0; ring < 3; ring++) {
      const angle = 2 * Math.PI * (turn * (ring + 1) / 2 + ring / 3);
      to.fillStyle = `hsl(${hue + 24 * ring} 85% ${66 + 6 * ring}% / 0.85)`;
      to.beginPath();
      to.arc(320 + (70 + 60 * ring) * Math.cos(angle), 180 + (34 + 34 * ring) * Math.sin(angle), 16 + 5 * ring, 0, 7);
      to.fill();
    }
    to.fillStyle = '#fff';
    to.font = '600 34px system-ui, sans-serif';
    to.fillText('AB'[(seat - 1) % 2], 24, 48);
    to.font = '500 18px ui-monospace, monospace';
    to.fillText(new Date().toISOString().slice(11, 23), 24, 336);
    to.textAlign = 'right';
    to.fillText(`#${frame}`, 616, 336);
    to.textAlign = 'left';
    frame += 1;
  };
  paint();
  const timer = setInterval(paint, 1000 / FRAMES);
  const stream = canvas.captureStream(FRAMES);
  return { stream, stop: () => { clearInterval(timer); stream.getTracks().forEach((track) => track.stop()); } };
}

/** A quiet chord that steps up, of which the two sides have different ones. */
function play(seat) {
  const sound = new AudioContext();
  const out = sound.createMediaStreamDestination();
  const gain = new GainNode(sound, { gain: 0.06 });
  const tone = new OscillatorNode(sound, { type: 'triangle' });
  tone.connect(gain).connect(out);
  tone.start();
  const notes = NOTES[(seat - 1) % NOTES.length];
  let step = 0;
  const timer = setInterval(() => {
    tone.frequency.setTargetAtTime(notes[step % notes.length], sound.currentTime, 0.02);
    step += 1;
  }, 600);
  // Browsers let a page make sounds only after a touch; a call begins with one.
  sound.resume().catch(() => {});
  return { stream: out.stream, stop: () => { clearInterval(timer); sound.close().catch(() => {}); } };
}
