import type { Bus } from '../cqrs/message.js'

/** What a module's routes are given. */
export interface RouteSurroundings {
  readonly commandBus: Bus<'command'>
  readonly queryBus: Bus<'query'>
}
