import type { Bus } from '../cqrs/message.js'

/** What the routes of a module get to work with. */
export interface RouteSurroundings {
  readonly commandBus: Bus<'command'>
  readonly queryBus: Bus<'query'>
}
