import { hash } from 'node:crypto'

/** Bytes of the secret, as the first migration makes it. A shorter one is filled up with zeros, of a longer one these count. */
const secretLength = 32

/** Bytes of the longest input whose buffer is kept for the next: longer than nearly any hint or entry. */
const longestKept = 1_048_576

/**
 * Signs what goes through Redis, each message together with the name under which it does, so that none can be
 * passed off under another.
 *
 * BLAKE2b of the secret and the message behind it, which is a sound MAC (as SHA-256 of them would not be: whoever has one
 * could make that of a longer message), in one call: a sixteenth of the time of an HMAC-SHA-256 for 150 bytes, on Node 24. The
 * secret does not fill a block of the hash, which would be hashed as well: 3 % of a read from L2. The name's length comes
 * before the name, so that no byte can move from one to the other.
 */
export class Mac {
  /** For the secret, the name and the message; grows with what is signed. */
  #input = Buffer.alloc(16_384)

  /** @param installation its secret is asked for at each use: it is not known before the migrations have run */
  constructor(private readonly installation: { readonly secret: Buffer }) {}

  /**
   * @param atMost bytes of the message, or more
   * @param write writes the message into the buffer from that place on, and tells where it ends
   * @returns 64 bytes as a string: a buffer of its own for each takes 1.1 µs more, and the hash 0.7
   */
  of(
    name: string,
    atMost: number,
    write: (input: Buffer, start: number) => number,
    encoding: 'binary' | 'hex',
  ): string {
    const longest = secretLength + 4 + name.length * 3 + atMost
    const input = this.#inputOf(longest)
    this.installation.secret.copy(input)
    const nameLength = input.write(name, secretLength + 4)
    input.writeUInt32LE(nameLength, secretLength)
    const end = write(input, secretLength + 4 + nameLength)
    return hash('blake2b512', input.subarray(0, end), encoding)
  }

  #inputOf(length: number): Buffer {
    if (length <= this.#input.length) return this.#input
    const isKept = length <= longestKept
    const input = Buffer.alloc(isKept ? 2 * length : length)
    if (isKept) this.#input = input
    return input
  }
}
