/** Turns values into bytes for L2 and back. Whatever it does not bring back as it was lives in memory only. */
export interface Serializer {
  /**
   * Identifies the format, 1 to 255. It is written with each entry; a reader with another one takes the entry
   * for a miss, and never misreads it.
   */
  readonly format: number
  /**
   * @param isJson whether the value is already known to be one that JSON brings back as it is
   * @throws if the value cannot be brought back as it is
   */
  serialize(value: unknown, isJson?: boolean): Uint8Array
  /** @throws if these bytes are not what `serialize` makes */
  deserialize(bytes: Uint8Array): unknown
}
