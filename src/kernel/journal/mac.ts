import { hash } from 'node:crypto'

/** Bytes of the secret, as the first migration creates it. A shorter secret is padded with zeros, a longer one is cut. */
const secretLength = 32

/** The buffer of an input of at most this many bytes is used again. Nearly all hints and entries are shorter. */
const longestKept = 1_048_576

/**
 * Signs messages that go through Redis. Each is signed together with its name (the Redis key or channel), so that nobody can
 * store or send it under another name.
 *
 * The signature is BLAKE2b of the secret, the name and the message. That is a secure MAC. SHA-256 of the same input would not
 * be one: whoever knows it could extend the message. BLAKE2b takes one call, and for 150 bytes a sixteenth of the time of an
 * HMAC-SHA-256 on Node 24. The secret is not padded to a full block of the hash, which would cost 3 % of a read from L2. The
 * length of the name comes before the name, so that no byte can move between the name and the message.
 */
export class Mac {
  /** Holds the secret, the name and the message. It grows with the messages. */
  #input = Buffer.alloc(16_384)

  /** @param installation its secret is read at each use, because it is not known before the migrations have run */
  constructor(private readonly installation: { readonly secret: Buffer }) {}

  /**
   * @param atMost an upper limit for the bytes of the message
   * @param write writes the message into the buffer, from `start`, and returns where it ends
   * @returns 64 bytes as a string. A buffer for each would take 1.1 µs more, while the hash takes 0.7
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
