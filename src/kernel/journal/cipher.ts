import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { Mac } from './mac.js'

const algorithm = 'aes-256-gcm'
const saltLength = 16
const tagLength = 16
const keyLength = 32
const ivLength = 12

/** Encryption adds this many bytes: a random salt, and a tag that shows whether anything was changed. */
export const cipherOverhead = saltLength + tagLength

/**
 * Encrypts messages that go through Redis with AES-256-GCM. Each message is encrypted for its name (the Redis key or channel),
 * so that nobody can store or send it under another name. The key is derived from the installation's secret.
 *
 * Each message has its own key and IV, derived from a random salt. With one key for all messages, random IVs of 96 bits would
 * be safe for 2^32 messages only, which a busy cluster writes within days. Salts of 128 bits are safe for 2^48 messages.
 */
export class Cipher {
  #secret: Buffer | undefined
  #keys = new Mac({ secret: Buffer.alloc(0) })

  /**
   * @param installation its secret is read at each use, because it is not known before the migrations have run
   * @param purpose what is encrypted; each purpose has its own keys
   */
  constructor(
    private readonly installation: { readonly secret: Buffer },
    private readonly purpose: string,
  ) {}

  /**
   * @param name the Redis key or channel
   * @param header is not encrypted, but is protected against changes like the message
   * @returns the salt, the tag and the encrypted message
   */
  encrypt(name: string, header: Uint8Array, message: Uint8Array): Buffer {
    const salt = randomBytes(saltLength)
    const { key, iv } = this.#keyOf(name, salt)
    const cipher = createCipheriv(algorithm, key, iv, { authTagLength: tagLength })
    cipher.setAAD(header)
    const encrypted = [cipher.update(message), cipher.final()]
    return Buffer.concat([salt, cipher.getAuthTag(), ...encrypted])
  }

  /** @returns undefined unless it was encrypted with this secret, for this name and with this header */
  decrypt(name: string, header: Uint8Array, encrypted: Buffer): Buffer | undefined {
    if (encrypted.length < cipherOverhead) return undefined
    const { key, iv } = this.#keyOf(name, encrypted.subarray(0, saltLength))
    const decipher = createDecipheriv(algorithm, key, iv, { authTagLength: tagLength })
    decipher.setAAD(header)
    decipher.setAuthTag(encrypted.subarray(saltLength, cipherOverhead))
    const message = decipher.update(encrypted.subarray(cipherOverhead))
    try {
      // This checks the tag. Nothing of the message may be used before.
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
    // 64 bytes that nobody can predict without the secret.
    const write = (input: Buffer, start: number): number => start + salt.copy(input, start)
    const made = Buffer.from(this.#keys.of(name, salt.length, write, 'binary'), 'latin1')
    return { key: made.subarray(0, keyLength), iv: made.subarray(keyLength, keyLength + ivLength) }
  }
}
