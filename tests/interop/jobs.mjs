// What the program's commands want of a session: to send some messages, or to listen for a while. A job is asked to begin at every
// session (a first record is due at once, [P-5.5]) and says when it is done.
import { CODES, ProtocolError } from "./errors.mjs";
import { COMMANDS } from "./messages.mjs";

/** Sends texts to a name, and all that is still unsettled from before; done when everything is settled. */
export class SendJob {
  constructor(to, texts) {
    this.to = to;
    this.texts = [...texts];
    this.target = null;
  }

  /** Asks for the name even where it is known: the first record has to be a small one [P-1.2], and a message may be large. */
  async begin(client) {
    this.target = (await client.lookUp({ name: this.to })).user;
    client.poke?.();
  }

  /** Before any session: what goes to a known name is kept now, and sent whenever there is a session. */
  prepare(client) {
    this.target = client.contact(this.to);
    this.feed(client);
  }

  /** New messages go behind the unsettled ones, as many as there is room for. */
  feed(client) {
    while (this.target !== null && this.texts.length && client.outbox.hasRoom) client.post(this.target, this.to, this.texts.shift());
  }

  isDone(client) { return this.target !== null && this.texts.length === 0 && client.outbox.entries.length === 0; }
}

/** Fetches, shows and confirms until `count` messages and `receipts` receipts are shown and what else was wished is done; null: endlessly. */
export class ListenJob {
  constructor({ count, receipts, rekeys, isRenewing }) {
    Object.assign(this, { count: count ?? 0, receipts: receipts ?? 0, isEndless: (count ?? receipts) === null });
    Object.assign(this, { rekeys, isRenewing, isFetched: false });
  }

  async begin(client) {
    client.isListening = true;
    const reply = await client.request(COMMANDS.OFFLINE_FETCH);
    if (reply.content.length !== 4) throw new ProtocolError(CODES.BAD_COMMAND, "fetch answered in another form");
    client.print({ fetched: reply.content.readUInt32BE() });
    this.isFetched = true;
    for (; this.rekeys > 0; this.rekeys--) await client.connection.rekey();
    if (this.isRenewing) await client.renew();
    if (this.isRenewing) client.print({ renewed: client.home.session.expires });
    this.isRenewing = false;
    client.poke?.();
  }

  isDone(client) {
    const areWishesDone = this.isFetched && client.learning.size === 0 && this.rekeys === 0 && !this.isRenewing;
    return areWishesDone && !this.isEndless && client.shownCount >= this.count && client.receiptCount >= this.receipts;
  }
}
