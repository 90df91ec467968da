/** What one round of one entrant came to, by the name of the figure. */
export type Sample = Readonly<Record<string, number>>

/** Something that is measured, in a process of its own. */
export interface Entrant {
  /** One round. What is prepared for it before the clock starts is its own affair. */
  round(): Promise<Sample>
  close(): Promise<void>
}

/** Where private servers are, and what a suite has to say to its entrants. */
export interface EntrantSettings {
  readonly databaseUrl: string
  readonly redisUrl: string
  /** Shorter rounds: to see that all works, not to measure. */
  readonly quick: boolean
  readonly [setting: string]: string | number | boolean
}

export type OpenEntrant = (settings: EntrantSettings) => Promise<Entrant>
