/**
 * Emissions of electricity.
 *
 *   kg CO₂e = joules / 3.6e6 · PUE · intensity / 1000            intensity in g CO₂e per kWh
 */
import { EnergyError } from './errors.ts';

/**
 * Grams of CO₂ equivalents per kWh, life cycle, mean of 2023. Ember, by way of Our World in Data
 * (https://ourworldindata.org/grapher/carbon-intensity-electricity, CC BY 4.0). Hours and regions differ from these by several times:
 * where it matters, pass your supplier's figure.
 */
export const gridIntensity = {
  world: 481,
  australia: 549,
  austria: 111,
  belgium: 138,
  brazil: 98,
  canada: 170,
  china: 582,
  czechia: 450,
  finland: 79,
  france: 56,
  germany: 381,
  india: 713,
  ireland: 291,
  norway: 30,
  poland: 662,
  sweden: 41,
} as const;

/** How joules become CO2e. */
export interface CarbonOptions {
  /** Grams of CO₂e per kWh, or a name of {@link gridIntensity}. @default 'world' */
  readonly grid?: number | keyof typeof gridIntensity;
  /** Power usage effectiveness: energy of the whole building over that of the computers, 1 or more. @default 1 */
  readonly pue?: number;
}

/**
 * Kilograms of CO₂ equivalents.
 *
 * @throws {EnergyError} an unknown grid, an intensity below 0, or a PUE below 1
 */
export function kilogramsCO2(joules: number, { grid = 'world', pue = 1 }: CarbonOptions = {}): number {
  const grams = typeof grid === 'number' ? grid : gridIntensity[grid];
  const faults: string[] = [];
  if (!(grams >= 0)) faults.push(`grid is ${grid}, expected grams per kWh or one of ${Object.keys(gridIntensity).join(', ')}`);
  if (!(pue >= 1)) faults.push(`pue is ${pue}, expected 1 or more`);
  if (faults.length > 0) throw new EnergyError('bad-option', 'kilogramsCO2', `${faults.join('; ')}.`);
  return (joules / 3.6e6) * pue * (grams / 1000);
}
