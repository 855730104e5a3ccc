// The test picture: a moving picture with a frame counter, and a tone. It needs no device and no permission.

const width = 960;
const height = 540;
const rate = 30; // frames per second
const beep = 0.1; // seconds of each second, in sound and in picture
const bars = ["#c8c8c8", "#c8c23c", "#3cc2c2", "#3cb84a", "#bf46bf", "#c24343", "#4355c2"];

/**
 * @typedef {object} Source
 * @property {MediaStream} media
 * @property {() => void} stop
 * @property {string} note for people; "" where there is nothing to say
 */

/**
 * Starts the test picture.
 * @param {string} title is written into it
 * @returns {Promise<Source>}
 */
export async function testPicture(title) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d", { alpha: false });
  const tone = new Tone();
  let frame = 0;
  const ticker = new Worker(new URL("./ticker.js", import.meta.url), { type: "module" });
  ticker.onmessage = () => draw(pen, title, frame++, tone.beeping);
  draw(pen, title, frame++, false);
  const media = canvas.captureStream(rate);
  media.addTrack(tone.track);
  return {
    media,
    stop() {
      ticker.terminate();
      tone.stop();
      for (const track of media.getTracks()) track.stop();
    },
    note: tone.silent ? "The tone starts with your first click or key press on this page: browsers keep a page silent until then." : "",
  };
}

/** A quiet hum with a short beep at every full second, in step with the flash in the picture. */
class Tone {
  #context = new AudioContext();
  #started = this.#context.currentTime;

  constructor() {
    const output = this.#context.createMediaStreamDestination();
    const loop = new AudioBufferSourceNode(this.#context, { buffer: oneSecond(this.#context.sampleRate), loop: true });
    loop.connect(output);
    loop.start();
    [this.track] = output.stream.getAudioTracks();
    for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, this.#resume);
  }

  get silent() {
    return this.#context.state !== "running";
  }

  get beeping() {
    return (this.silent ? performance.now() / 1000 : this.#context.currentTime - this.#started) % 1 < beep;
  }

  #resume = () => this.#context.resume();

  stop() {
    for (const gesture of ["pointerdown", "keydown"]) removeEventListener(gesture, this.#resume);
    this.#context.close();
  }
}

/**
 * One second of sound that ends where it begins: whole periods of 220 Hz and 880 Hz.
 * @param {number} sampleRate
 */
function oneSecond(sampleRate) {
  const buffer = new AudioBuffer({ length: sampleRate, sampleRate });
  const samples = buffer.getChannelData(0);
  for (let i = 0; i < samples.length; i++) {
    const t = i / sampleRate;
    samples[i] = 0.03 * Math.sin(2 * Math.PI * 220 * t);
    if (t < beep) samples[i] += 0.2 * Math.sin(2 * Math.PI * 880 * t) * Math.sin((Math.PI * t) / beep);
  }
  return buffer;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {string} title
 * @param {number} frame
 * @param {boolean} flash
 */
function draw(pen, title, frame, flash) {
  const floor = height - 90;
  pen.fillStyle = "#12191b";
  pen.fillRect(0, 0, width, floor);
  bars.forEach((colour, i) => {
    pen.fillStyle = colour;
    pen.fillRect((i * width) / bars.length, floor, width / bars.length + 1, height - floor);
  });

  pen.strokeStyle = "#2a3639";
  pen.lineWidth = 2;
  pen.beginPath();
  for (let x = (frame * 4) % 60; x < width; x += 60) pen.rect(x, 0, 0, floor);
  for (let y = 60; y < floor; y += 60) pen.rect(0, y, width, 0);
  pen.stroke();

  const angle = (frame / rate) * Math.PI;
  pen.strokeStyle = "#6fd0c5";
  pen.lineWidth = 10;
  pen.beginPath();
  pen.arc(width - 170, 170, 90, angle, angle + 1.5 * Math.PI);
  pen.stroke();
  if (flash) {
    pen.fillStyle = "#ffffff";
    pen.beginPath();
    pen.arc(width - 170, 170, 50, 0, 2 * Math.PI);
    pen.fill();
  }

  pen.fillStyle = "#e8f0ef";
  pen.textBaseline = "alphabetic";
  pen.font = "600 36px system-ui, sans-serif";
  pen.fillText(title, 60, 100, width - 380);
  pen.font = "600 150px ui-monospace, monospace";
  pen.fillText(String(frame).padStart(6, "0"), 52, 290);
  pen.font = "36px ui-monospace, monospace";
  pen.fillText(new Date().toISOString().slice(11, 23), 60, 370);
}
