import type { Random } from './random.js'

const ids = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

/** Returns a path in which some ids are in upper or mixed case. It means the same resource. */
export function respelled(path: string, random: Random): string {
  return path.replace(ids, (id) => {
    const draw = random.next()
    if (draw < 0.4) return id
    if (draw < 0.7) return id.toUpperCase()
    return [...id].map((digit) => (random.chance(0.5) ? digit.toUpperCase() : digit)).join('')
  })
}
