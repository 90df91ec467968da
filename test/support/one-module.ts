import type { ServiceModule } from '../../src/kernel/cqrs/module.js'

/** One module with nothing but these parts. */
export function oneModule(parts: Partial<ServiceModule>): [ServiceModule] {
  return [
    {
      name: 'things',
      ...parts,
    },
  ]
}
