import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { Precondition } from '../../../kernel/domain/index.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { FeatureFlag } from '../domain/feature-flag.js'
import { Description, FeatureFlagName } from '../domain/values.js'
import { type FeatureFlagView, viewOf } from '../feature-flag-view.js'

export interface FeatureFlagPut {
  readonly created: boolean
  readonly flag: FeatureFlagView
}

export class PutFeatureFlag extends command(
  z.strictObject({
    name: FeatureFlagName,
    enabled: z.boolean(),
    description: Description.optional(),
    precondition: Precondition,
  }),
).returning<FeatureFlagPut>() {}

@commandHandler(PutFeatureFlag)
export class PutFeatureFlagHandler implements CommandHandler<PutFeatureFlag> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ name, enabled, description, precondition }: PutFeatureFlag): Promise<FeatureFlagPut> {
    const state = { enabled, description: description ?? null }
    const flags = this.unitOfWork.of(FeatureFlag)
    const stored = await flags.find(name, precondition)
    const created = !stored?.exists
    if (!stored) {
      const flag = FeatureFlag.create(name, state)
      await flags.add(flag)
      return { created, flag: viewOf(flag) }
    }
    stored.replace(state)
    await flags.save(stored)
    return { created, flag: viewOf(stored) }
  }
}
