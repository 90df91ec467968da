import type { Logger } from 'pino'

/** What the kernel writes to. Pino's own type, so that fields come before the message everywhere. */
export type { Logger }
