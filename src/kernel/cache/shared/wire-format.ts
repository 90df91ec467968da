import { timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { constants, deflateRaw, inflateRaw } from 'node:zlib'
import { z } from 'zod'
import { Cipher } from '../../journal/cipher.js'
import { Mac } from '../../journal/mac.js'
import type { Serializer } from '../values/serializer.js'
import type { SharedEntry } from './shared-tier.js'

const deflate = promisify(deflateRaw)
const inflate = promisify(inflateRaw)

/** Changes whenever entries are written differently, so that a release ignores, and never misreads, those of another. */
export const formatVersion = 4

/** The version byte of encrypted entries, so that a reader never takes one kind for the other. */
const encryptedVersion = formatVersion | 0x80

/*
 * version | serializer | flags | mac (32) | position, loadedAt, freshUntil, usableUntil, l1TtlMs (doubles)
 * | length of meta (uint32) | meta (JSON, empty if there is none) | payload
 *
 * In an encrypted entry, everything after the flags is encrypted, and salt (16) and tag (16) stand in place of the mac.
 */
const macStart = 3
const macLength = 32
const headerStart = macStart + macLength
const metaLengthStart = headerStart + 5 * 8
const metaStart = metaLengthStart + 4
const compressed = 1

/** Most bytes of the meta part. 512 names, the most that an entry can have, of 250 characters each fit into it. */
const largestMeta = 131_072

const metaSchema = z.strictObject({
  names: z.array(z.string()).optional(),
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  lasting: z
    .strictObject({
      l1TtlMs: z.number().exactOptional(),
      jitterMs: z.number().exactOptional(),
      failSafe: z.boolean().exactOptional(),
      eagerRefreshThreshold: z.number().exactOptional(),
      skipL1Write: z.boolean().exactOptional(),
      sizeBytes: z.number().exactOptional(),
      clone: z.boolean().exactOptional(),
    })
    .optional(),
})

export interface WireFormatOptions {
  readonly serializer: Serializer
  /** Bytes of a payload, serialized and not compressed. */
  readonly maximumPayloadBytes: number
  /** Bytes from which on a payload is compressed, if that makes it smaller; `Infinity`: never. */
  readonly compressAboveBytes: number
  /** Whether entries are encrypted. A reader that encrypts ignores entries that are not encrypted, and the other way round. */
  readonly encrypted?: boolean | undefined
}

/** The payload of a value, or its names, exceed the limit of L2. */
export class PayloadTooLargeError extends Error {
  override readonly name = 'PayloadTooLargeError'
}

/**
 * How an entry lies in Redis. It is signed, or encrypted, together with its key: a Redis that somebody else can write to could
 * otherwise put words into this service's mouth, or one user's value under another's key.
 */
export class WireFormat {
  readonly #mac: Mac
  readonly #cipher: Cipher | undefined
  readonly #version: number
  readonly #expected = Buffer.alloc(macLength)
  /** Copied into, as a `subarray` for each comparison costs more than copying 32 bytes. */
  readonly #found = Buffer.alloc(macLength)

  constructor(
    installation: { readonly secret: Buffer },
    private readonly options: WireFormatOptions,
  ) {
    this.#mac = new Mac(installation)
    this.#cipher = options.encrypted ? new Cipher(installation, 'entries in Redis') : undefined
    this.#version = this.#cipher ? encryptedVersion : formatVersion
  }

  /** A part of each entry's name in Redis, so that nodes with different formats keep separate entries. */
  get mark(): string {
    return this.#cipher ? `v${formatVersion}-encrypted` : `v${formatVersion}`
  }

  /** Bytes of the longest entry that this node reads. A node with a larger limit may write longer ones. */
  get maximumBytes(): number {
    return metaStart + largestMeta + this.options.maximumPayloadBytes
  }

  /**
   * @param name the key in Redis
   * @returns a promise only where the payload is compressed
   * @throws PayloadTooLargeError
   * @throws what the serializer throws
   */
  encode(name: string, entry: SharedEntry): Buffer | Promise<Buffer> {
    const { serializer, maximumPayloadBytes, compressAboveBytes } = this.options
    const payload = serializer.serialize(entry.value, entry.isJson)
    if (payload.byteLength > maximumPayloadBytes) throw new PayloadTooLargeError()
    if (payload.byteLength <= compressAboveBytes) return this.#frame(name, entry, payload, 0)
    return this.#compress(name, entry, payload)
  }

  /**
   * @returns undefined for whatever this service, in this format and under this key, has not written; a promise only
   *   where the payload is compressed. Never throws or rejects.
   */
  decode(name: string, bytes: Buffer): SharedEntry | undefined | Promise<SharedEntry | undefined> {
    // This comes first, because hashing takes time in proportion to the length.
    if (bytes.length < metaStart || bytes.length > this.maximumBytes) return undefined
    if (bytes[0] !== this.#version) return undefined
    if (bytes[1] !== this.options.serializer.format) return undefined
    // Authenticated before anything else in it is used, because its lengths may be forged, too.
    const clear = this.#cipher ? this.#decrypt(this.#cipher, name, bytes) : this.#verify(name, bytes)
    if (!clear) return undefined
    const payloadStart = metaStart + clear.readUInt32LE(metaLengthStart)
    const payload = clear.subarray(payloadStart)
    if (clear[2] !== compressed) return this.#entry(clear, payloadStart, payload)
    return inflate(payload, { maxOutputLength: this.options.maximumPayloadBytes }).then(
      (inflated) => this.#entry(clear, payloadStart, inflated),
      () => undefined,
    )
  }

  #verify(name: string, bytes: Buffer): Buffer | undefined {
    this.#expected.write(this.#macOf(name, bytes), 'latin1')
    bytes.copy(this.#found, 0, macStart, headerStart)
    return timingSafeEqual(this.#expected, this.#found) ? bytes : undefined
  }

  #decrypt(cipher: Cipher, name: string, bytes: Buffer): Buffer | undefined {
    const message = cipher.decrypt(name, bytes.subarray(0, macStart), bytes.subarray(macStart))
    if (!message) return undefined
    const clear = Buffer.allocUnsafe(bytes.length)
    bytes.copy(clear, 0, 0, macStart)
    message.copy(clear, headerStart)
    return clear
  }

  async #compress(name: string, entry: SharedEntry, payload: Uint8Array): Promise<Buffer> {
    const smaller = await deflate(payload, { level: constants.Z_BEST_SPEED })
    return smaller.byteLength < payload.byteLength
      ? this.#frame(name, entry, smaller, compressed)
      : this.#frame(name, entry, payload, 0)
  }

  #frame(name: string, entry: SharedEntry, payload: Uint8Array, flags: number): Buffer {
    const meta = Buffer.from(metaOf(entry))
    if (meta.length > largestMeta) throw new PayloadTooLargeError()
    const bytes = Buffer.allocUnsafe(metaStart + meta.length + payload.byteLength)
    bytes[0] = this.#version
    bytes[1] = this.options.serializer.format
    bytes[2] = flags
    const { position, loadedAt, freshUntil, usableUntil, l1TtlMs } = entry
    const numbers = [position, loadedAt, freshUntil, usableUntil, l1TtlMs]
    for (const [index, number] of numbers.entries()) bytes.writeDoubleLE(number, headerStart + index * 8)
    bytes.writeUInt32LE(meta.length, metaLengthStart)
    bytes.set(meta, metaStart)
    bytes.set(payload, metaStart + meta.length)
    if (this.#cipher)
      this.#cipher
        .encrypt(name, bytes.subarray(0, macStart), bytes.subarray(headerStart))
        .copy(bytes, macStart)
    else bytes.write(this.#macOf(name, bytes), macStart, 'latin1')
    return bytes
  }

  #entry(bytes: Buffer, payloadStart: number, payload: Uint8Array): SharedEntry | undefined {
    try {
      const entry = {
        value: this.options.serializer.deserialize(payload),
        position: bytes.readDoubleLE(headerStart),
        names: noNames,
        loadedAt: bytes.readDoubleLE(headerStart + 8),
        freshUntil: bytes.readDoubleLE(headerStart + 16),
        usableUntil: bytes.readDoubleLE(headerStart + 24),
        l1TtlMs: bytes.readDoubleLE(headerStart + 32),
      }
      if (payloadStart === metaStart) return entry
      const meta = metaSchema.parse(JSON.parse(bytes.toString('utf8', metaStart, payloadStart)))
      return { ...entry, ...meta, names: meta.names ?? noNames }
    } catch {
      return undefined
    }
  }

  /** Of all but itself. */
  #macOf(name: string, bytes: Buffer): string {
    const write = (input: Buffer, start: number): number => {
      let end = start
      for (let index = 0; index < macStart; index++) input[end++] = bytes[index] as number
      return end + bytes.copy(input, end, headerStart)
    }
    return this.#mac.of(name, bytes.length, write, 'binary').slice(0, macLength)
  }
}

const noNames: readonly string[] = []

function metaOf({ names, etag, lastModified, lasting }: SharedEntry): string {
  if (names.length === 0 && etag === undefined && lastModified === undefined && !lasting) return ''
  return JSON.stringify({ ...(names.length > 0 && { names }), etag, lastModified, lasting })
}
