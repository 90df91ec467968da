import type { Action, Call, LoadPlan, Sequence } from './sequence.js'

/** A sequence for people: what is so from the beginning, then step by step. */
export function describeSequence(sequence: Sequence): string {
  const { nodes, tokens, entries, keepsAbsence, maxEntries, slowReplies, steps } = sequence
  const declared = Object.entries(entries)
    .filter(([, options]) => Object.keys(options).length > 0)
    .map(([cache, options]) => `  cache ${cache}: ${shown(options)}`)
  const sending = tokens.flatMap((sends, client) => (sends ? [client + 1] : []))
  let now = 0
  const lines = steps.map(({ afterMs, action }, index) => {
    now += afterMs
    return `${String(index + 1).padStart(4)}. at ${String(now).padStart(5)} ms ${describeAction(action)}`
  })
  return [
    `  ${nodes} nodes; clients with tokens: ${sending.join(', ') || 'none'}`,
    ...(keepsAbsence ? ['  absence is kept'] : []),
    ...(maxEntries < 1_000 ? [`  at most ${maxEntries} entries in memory`] : []),
    ...(slowReplies ? ['  replies of servers take their time'] : []),
    ...declared,
    ...lines,
    '  then troubles end, what was begun is finished, every node makes a check, and everything is read on each',
  ].join('\n')
}

function describeAction(action: Action): string {
  switch (action.kind) {
    case 'trouble':
      return action.what
    case 'suspend':
      return `node ${action.node + 1}'s machine is suspended for ${action.ms} ms`
    case 'cut off':
      return `node ${action.node + 1} is cut off from Postgres and hints for ${action.ms} ms`
    case 'burst':
      return `${action.callers} callers on each of nodes ${action.nodes.map((node) => node + 1).join()} ask for row ${action.row}, which is cold`
    default:
      return `client ${action.client + 1} on node ${action.node + 1} ${describeAsked(action)}`
  }
}

function describeAsked(
  action: Exclude<Action, { kind: 'trouble' | 'suspend' | 'cut off' | 'burst' }>,
): string {
  switch (action.kind) {
    case 'read': {
      const { how, cache, keys, call, load, spoils } = action
      const loads = how === 'getOrCreate' || how === 'getMany' ? `; loads ${describeLoad(load)}` : ''
      return `${how} ${cache} ${keys.join(', ')}${describeCall(call)}${loads}${spoils ? '; then tries to change it' : ''}`
    }
    case 'write': {
      const { row, group, names, ends, reads, deletes } = action
      const what = deletes ? `deletes ${row}` : `writes ${row} into ${group}`
      return `${what}, naming ${names}${reads ? ', reads it inside' : ''}, and ${ends}`
    }
    case 'set':
      return `sets row ${action.keys.join(', ')}, read ${action.betweenMs} ms before${action.stamped ? '' : ', without a stamp'}`
    case 'invalidate': {
      const { mode, what } = action
      if ('keys' in what) return `${mode}s ${what.cache} ${what.keys.join(', ')}`
      if ('tags' in what) return `${mode}s the tags ${what.tags.join(', ')}`
      return `clears ${what.cleared}${mode === 'expire' ? ', keeping what fail-safe needs' : ''}`
    }
    case 'change origin':
      return `changes ${action.row} outside, and then ${action.mode}s it by ${action.by}`
  }
}

function describeCall({ entry, abortsAfterMs }: Call): string {
  const options = entry ? ` with ${shown(entry)}` : ''
  return `${options}${abortsAfterMs === undefined ? '' : `, gives up after ${abortsAfterMs} ms`}`
}

function describeLoad(plan: LoadPlan): string {
  const { beforeMs, afterMs, ends, innerEnds, way, tags, adapts, isKept, asksWhetherModified, shape } = plan
  return [
    `by ${way}`,
    ...(beforeMs > 0 ? [`${beforeMs} ms before it reads`] : []),
    ...(afterMs > 0 ? [`${afterMs} ms after`] : []),
    ...(ends === 'well' ? [] : [`ends ${ends}`]),
    ...(innerEnds === undefined || innerEnds === 'well' ? [] : [`what is inside ends ${innerEnds}`]),
    `tags by ${tags}`,
    ...(adapts ? [`adapts ${shown(adapts)}`] : []),
    ...(isKept === false ? ['is not stored'] : []),
    ...(asksWhetherModified ? ['asks whether it is modified'] : []),
    ...(shape === 'plain' ? [] : [`a value ${shape}`]),
  ].join(', ')
}

function shown(options: object): string {
  return Object.entries(options)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
}
