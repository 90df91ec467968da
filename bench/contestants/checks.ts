import pg from 'pg'
import type { Entrant, EntrantSettings } from '../entrant.js'
import { startBenchNode } from '../service/bench-node.js'
import { backlogOf, openCrew } from './crew.js'

const module = import.meta.url

/** Nothing piles up: there are so many checks to make, and nothing to find. */
const nothingToDo = {
  clear: async () => {},
  fill: async () => {},
  tables: [],
  left: 'select 0 as left',
} as const

const ofOne = (settings: EntrantSettings): number => Math.ceil(backlogOf(settings) / Number(settings.workers))

/** What a round trip alone costs: a prepared statement that reads nothing. */
export function openRaw(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, { module, open: 'openRawWorker', ...nothingToDo })
}

export async function openRawWorker(settings: EntrantSettings): Promise<Entrant> {
  const client = new pg.Client(settings.databaseUrl)
  await client.connect()
  return {
    async round() {
      for (let left = ofOne(settings); left > 0; left--)
        await client.query({ name: 'nothing', text: 'select 1' })
      return {}
    },
    close: () => client.end(),
  }
}

/** Whole nodes, each of which makes one check after the other. */
export function openOurs(settings: EntrantSettings): Promise<Entrant> {
  return openCrew(settings, {
    module,
    open: 'openOurWorker',
    install: async () => (await startBenchNode(settings)).stop(),
    ...nothingToDo,
  })
}

export async function openOurWorker(settings: EntrantSettings): Promise<Entrant> {
  const node = await startBenchNode(settings)
  return {
    async round() {
      for (let left = ofOne(settings); left > 0; left--) await node.parts.check.run()
      return {}
    },
    close: () => node.stop(),
  }
}
