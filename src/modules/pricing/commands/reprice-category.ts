import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { DomainError } from '../../../kernel/domain/index.js'
import { violatedConstraint } from '../../../kernel/persistence/persistence-errors.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { CategoryRepriced } from '../domain/pricing-events.js'
import { Category, maximumPriceCents, Percent } from '../domain/values.js'

export class RepriceCategory extends command(
  z.strictObject({ category: Category, percent: Percent }),
).returning<{ repriced: number }>() {}

/**
 * `numeric` multiplies exactly and rounds half away from zero. A division could lose digits, so this uses `* 0.01`.
 * Rows are locked in order of sku. Otherwise two repricings at the same time could each wait for the other.
 */
const reprice = `
  with locked as (
    select sku from product where category = $1 and deleted_at is null order by sku for update
  ), repriced as (
    update product p
    set price_cents = round(p.price_cents * (100 + $2::numeric) * 0.01), version = p.version + 1
    from locked
    where p.sku = locked.sku and p.category = $1 and p.deleted_at is null
    returning p.sku
  )
  select count(*)::integer as repriced from repriced`

@commandHandler(RepriceCategory)
export class RepriceCategoryHandler implements CommandHandler<RepriceCategory> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ category, percent }: RepriceCategory): Promise<{ repriced: number }> {
    try {
      const [counted] = await this.unitOfWork.changeMany(
        [new CategoryRepriced({ category, percent })],
        (manager) => manager.query<{ repriced: number }[]>(reprice, [category, percent]),
      )
      return { repriced: counted?.repriced ?? 0 }
    } catch (error) {
      if (violatedConstraint(error) !== 'product_price_cents_check') throw error
      throw new DomainError(
        'unprocessable',
        'price-too-high',
        `A product of ${category} would cost more than ${maximumPriceCents} cents; nothing was repriced`,
      )
    }
  }
}
