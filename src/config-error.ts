/** A setting that the node cannot start with. The message is one line and names it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}
