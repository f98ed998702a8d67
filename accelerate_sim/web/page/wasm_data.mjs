// What a WebAssembly file writes to memory when it starts. A memory image need not hold it, as the file does.
const CUSTOM_DATA = 11; // number of the data section
const [CONST, GLOBAL, END] = [0x41, 0x23, 0x0b];

// Take the difference between `memory` and the data of a file, or put it back: both are the same operation.
// `base` is the address that the module's own addresses begin at.
export function differWithData(memory, file, base) {
  for (const [offset, data] of segments(file, base)) {
    for (let at = 0; at < data.length; at++) memory[offset + at] ^= data[at];
  }
}

function* segments(file, base) {
  const reader = new Reader(file);
  reader.at = 8; // magic number and version
  while (reader.at < file.length) {
    const section = file[reader.at++];
    const size = reader.number();
    const end = reader.at + size;
    if (section === CUSTOM_DATA) {
      for (let count = reader.number(); count > 0; count--) {
        if (reader.number() !== 0) throw new Error('a data segment has no address');
        const offset = reader.address(base);
        const length = reader.number();
        yield [offset, file.subarray(reader.at, reader.at + length)];
        reader.at += length;
      }
    }
    reader.at = end;
  }
}

class Reader {
  constructor(file) { this.file = file; this.at = 0; }

  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.file[this.at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  // An address is a constant, or the base of the module. Addresses are below 2^31, so the sign does not matter.
  address(base) {
    const opcode = this.file[this.at++];
    const value = this.number();
    if (this.file[this.at++] !== END || ![CONST, GLOBAL].includes(opcode)) throw new Error('an address is computed');
    return opcode === GLOBAL ? base : value;
  }
}
