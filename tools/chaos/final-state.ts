import type { FinalJournalRecord, FinalNodeRecord } from './history.js'

/** What is wrong with a node after the faults have ended; undefined if nothing is. */
export function faultOfNode(record: FinalNodeRecord): string | undefined {
  const { node, ready, applied, head, sameProcess } = record
  if (ready && applied === head && sameProcess) return undefined
  return (
    `node ${node}: ${ready ? 'ready' : 'not ready'}, applied ${applied} of ${head}` +
    `${sameProcess ? '' : ', and it had to be restarted'}`
  )
}

/** What is wrong with the events after the faults have ended; undefined if nothing is. */
export function faultOfJournal(record: FinalJournalRecord): string | undefined {
  const { unnumbered, missing, mismatched, undelivered } = record
  if (unnumbered + missing + mismatched + undelivered === 0) return undefined
  return (
    `${unnumbered} events without a position, ${missing} positions without an event, ${mismatched} keys whose ` +
    `events are not their versions, ${undelivered} events not delivered to their handler`
  )
}
