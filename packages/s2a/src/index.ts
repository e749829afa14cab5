export { type FourBitOptions, fourBit } from './four-bit.ts';
