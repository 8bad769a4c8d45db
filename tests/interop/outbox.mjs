// The sending side of delivery (§8): which message goes out when, with flag *first* or without. Pure: `now` in ms is handed in, messages
// come out; who keeps it on disk and who sends is client.mjs.
import { fromHex } from "./bytes.mjs";
import { CODES } from "./errors.mjs";
import { COMMANDS, FIRST, MAX_BODY_BYTES, QOS_1 } from "./messages.mjs";

const MAX_UNSETTLED = 64; // [P-8.5]
const MAX_UNSETTLED_BYTES = 2 ** 20;
const KEPT_MS = 7 * 24 * 3600 * 1000; // [P-8.2]
const ANSWER_MS = 15000; // [P-8.6]
const RETRIES = new Set([CODES.STORE_UNAVAILABLE, CODES.SLOW_DOWN, CODES.OUT_OF_ORDER, CODES.BUSY]); // [P-8.4]
const LEAST_PAUSE_MS = { [CODES.OUT_OF_ORDER]: 0 };
const OTHER_PAUSE_MS = 500;

/** Entries `{target, to, time, body (hex), keptAt}` in the order of their names; the list is the home's own and changes in place. */
export class Outbox {
  constructor(entries, user) {
    this.entries = entries;
    this.user = user;
    this.sentAt = new Map(); // time → when it was sent in this session, while unanswered
    this.lanes = new Map(); // target → {resumeAt}, while refused
    this.window = MAX_UNSETTLED; // how many may be on their way; halved by SLOW_DOWN, else the same burst would be refused again
  }

  get hasRoom() {
    const bytes = this.entries.reduce((sum, { body }) => sum + body.length / 2, 0);
    return this.entries.length < MAX_UNSETTLED && bytes + MAX_BODY_BYTES <= MAX_UNSETTLED_BYTES;
  }

  add(entry) { this.entries.push(entry); }

  /** A new session: nothing is on its way any more [P-8.2]. Returns what is too old: it counts as unknown. */
  startSession(now) {
    this.sentAt.clear();
    this.lanes.clear();
    const old = this.entries.filter(({ keptAt }) => now - keptAt > KEPT_MS);
    for (const entry of old) this.#remove(entry);
    return old;
  }

  /** The messages to send now, in order. */
  due(now) {
    const due = [];
    const targets = new Set();
    for (const entry of this.entries) {
      const isFirst = !targets.has(entry.target);
      targets.add(entry.target);
      if (this.sentAt.has(entry.time) || !this.#isFree(entry.target, now)) continue;
      if (this.sentAt.size >= this.window) break;
      this.sentAt.set(entry.time, now);
      due.push({
        command: COMMANDS.USER_MESSAGE, flags: QOS_1 | (isFirst ? FIRST : 0), user: this.user, target: BigInt(entry.target),
        time: BigInt(entry.time), content: fromHex(entry.body),
      });
    }
    return due;
  }

  /** Whether a message waits so long for its answer that the terminal has to connect again. */
  isLate(now) { return [...this.sentAt.values()].some((sentAt) => now - sentAt > ANSWER_MS); }

  /** A message was settled: its entry, or null if it is not on its way. */
  settle(target, time) {
    const entry = this.#answered(target, time);
    if (entry) this.#remove(entry);
    this.window = Math.min(MAX_UNSETTLED, this.window + 1);
    return entry;
  }

  /** A message was refused: `{entry, isFinal}`, or null. All behind it will be refused too; the lane waits until they are [P-8.4]. */
  refuse(target, time, { code, retryMs }, now) {
    const entry = this.#answered(target, time);
    if (!entry) return null;
    const lane = this.lanes.get(entry.target) ?? { resumeAt: 0 };
    if (code === CODES.SLOW_DOWN && !this.lanes.has(entry.target)) this.window = Math.max(1, this.window >> 1);
    this.lanes.set(entry.target, lane);
    const isFinal = !RETRIES.has(code);
    if (isFinal) this.#remove(entry);
    else lane.resumeAt = Math.max(lane.resumeAt, now + (retryMs ?? LEAST_PAUSE_MS[code] ?? OTHER_PAUSE_MS));
    return { entry, isFinal };
  }

  #answered(target, time) {
    const entry = this.entries.find((one) => one.time === String(time) && one.target === String(target));
    if (!entry || !this.sentAt.delete(entry.time)) return null;
    return entry;
  }

  #remove(entry) { this.entries.splice(this.entries.indexOf(entry), 1); }

  /** A lane in which something was refused is free again once nothing of it is on its way and its pause is over. */
  #isFree(target, now) {
    const lane = this.lanes.get(target);
    if (!lane) return true;
    if (now < lane.resumeAt) return false;
    const resuming = this.entries.filter((entry) => entry.target === target);
    if (resuming.some((entry) => this.sentAt.has(entry.time))) return false;
    this.lanes.delete(target);
    return true;
  }
}
