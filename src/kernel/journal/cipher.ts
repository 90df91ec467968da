import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { Mac } from './mac.js'

const algorithm = 'aes-256-gcm'
const saltLength = 16
const tagLength = 16
const keyLength = 32
const ivLength = 12

/** Bytes by which what is encrypted is longer: a random salt, and the tag that tells whether anything was changed. */
export const cipherOverhead = saltLength + tagLength

/**
 * Encrypts what goes through Redis, each message for the name under which it does, so that none can be passed off under
 * another: AES-256-GCM, with a key made of the installation's secret.
 *
 * Each message has a key and an IV of its own, made of a random salt. With one key for all, a random IV of 96 bits would be
 * safe for 2^32 messages only, which a busy cluster has written within days; salts of 128 bits are for 2^48.
 */
export class Cipher {
  #secret: Buffer | undefined
  #keys = new Mac({ secret: Buffer.alloc(0) })

  /**
   * @param installation its secret is asked for at each use: it is not known before the migrations have run
   * @param purpose what is encrypted; for another purpose there are other keys
   */
  constructor(
    private readonly installation: { readonly secret: Buffer },
    private readonly purpose: string,
  ) {}

  /**
   * @param name where the message goes
   * @param header goes with it, not encrypted; it cannot be changed, either
   * @returns salt, tag and what is encrypted
   */
  encrypt(name: string, header: Uint8Array, message: Uint8Array): Buffer {
    const salt = randomBytes(saltLength)
    const { key, iv } = this.#keyOf(name, salt)
    const cipher = createCipheriv(algorithm, key, iv, { authTagLength: tagLength })
    cipher.setAAD(header)
    const encrypted = [cipher.update(message), cipher.final()]
    return Buffer.concat([salt, cipher.getAuthTag(), ...encrypted])
  }

  /** @returns undefined for whatever was not encrypted here, for this name and with this header */
  decrypt(name: string, header: Uint8Array, encrypted: Buffer): Buffer | undefined {
    if (encrypted.length < cipherOverhead) return undefined
    const { key, iv } = this.#keyOf(name, encrypted.subarray(0, saltLength))
    const decipher = createDecipheriv(algorithm, key, iv, { authTagLength: tagLength })
    decipher.setAAD(header)
    decipher.setAuthTag(encrypted.subarray(saltLength, cipherOverhead))
    const message = decipher.update(encrypted.subarray(cipherOverhead))
    try {
      // Nothing of the message may be used before this has looked at the tag.
      decipher.final()
    } catch {
      return undefined
    }
    return message
  }

  #keyOf(name: string, salt: Buffer): { readonly key: Buffer; readonly iv: Buffer } {
    const { secret } = this.installation
    if (secret !== this.#secret) {
      const root = hkdfSync('sha256', secret, '', `aftercommit ${this.purpose}`, keyLength)
      this.#keys = new Mac({ secret: Buffer.from(root) })
      this.#secret = secret
    }
    // 64 bytes that nobody can foretell without the secret.
    const write = (input: Buffer, start: number): number => start + salt.copy(input, start)
    const made = Buffer.from(this.#keys.of(name, salt.length, write, 'binary'), 'latin1')
    return { key: made.subarray(0, keyLength), iv: made.subarray(keyLength, keyLength + ivLength) }
  }
}
