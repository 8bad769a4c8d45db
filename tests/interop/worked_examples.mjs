// A worked-examples file as a book whose every field must be used: as input, or as something computed and compared.
import fs from "node:fs";
import path from "node:path";
import { fromHex, toHex } from "./bytes.mjs";

/** A computed value differs from the page's, or a field of the page was left unused. */
export class Mismatch extends Error {}

export class Book {
  constructor(fields, where = "") {
    this.fields = fields;
    this.where = where;
    this.unused = new Set(Object.keys(fields).filter((name) => name !== "about" && name !== "name"));
  }

  static open(directory, file) {
    return new Book(JSON.parse(fs.readFileSync(path.join(directory, file), "utf-8")), file);
  }

  /** The field as it stands in the file. */
  raw(name) {
    if (!(name in this.fields)) throw new Mismatch(`${this.where}: no field ${name}`);
    this.unused.delete(name);
    return this.fields[name];
  }

  bytes(name) { return fromHex(this.raw(name)); }

  /** The maps of a list, each a book. */
  list(name) {
    return this.raw(name).map((item, i) => new Book(item, `${this.where} ${name}.${i}${item.name ? ` (${item.name})` : ""}`));
  }

  /** Compares computed bytes with a field in hex. */
  same(name, bytes) { this.equal(name, toHex(bytes), this.raw(name)); }

  equal(what, got, wanted) {
    if (JSON.stringify(got) !== JSON.stringify(wanted)) {
      throw new Mismatch(`${this.where}: ${what} is ${JSON.stringify(got)}, the page says ${JSON.stringify(wanted)}`);
    }
  }

  /** A trace for the handshakes: compares whatever they compute with the field of that name. */
  get trace() {
    return (name, bytes) => this.same(name, bytes);
  }

  /** Runs `act`, which has to throw a ProtocolError of this code. */
  async refused(what, code, act) {
    try {
      await act();
    } catch (error) {
      if (error.code === undefined) throw error;
      return this.equal(`code of ${what}`, error.code, code);
    }
    throw new Mismatch(`${this.where}: ${what} was not refused`);
  }

  end() {
    if (this.unused.size) throw new Mismatch(`${this.where}: nothing checks ${[...this.unused].join(", ")}`);
  }
}

/** A link whose other side is a script: what is sent must be the frames named, what is received are the frames named. */
export class ScriptedLink {
  constructor(book, sent, received) {
    Object.assign(this, { book, sent, received });
  }

  send(content) {
    const name = this.sent.shift();
    const frame = this.book.bytes(name);
    this.book.equal(`length of ${name}`, content.length, frame.readUInt32BE());
    this.book.equal(name, toHex(content), toHex(frame.subarray(4)));
  }

  async receive() { return this.book.bytes(this.received.shift()).subarray(4); }

  raiseCap() {}
}
