// A worker that only keeps time: browsers slow the timers of a hidden page down, but not those of its workers.

const period = 1000 / 30; // ms

setInterval(() => postMessage(null), period);
