import type { Logger } from 'pino'

/** The logger of the kernel. It is Pino's own type, so that fields come before the message everywhere. */
export type { Logger }
