import { expect, test } from 'vitest';
import { expectedOf, missingFrom } from '../../../scripts/examples.ts';

const source = `/**
 * Learns.
 *
 *   npm start -- --quick   1.5 seconds
 *
 * Accuracy goes from 1.5 % to 90.0 % (quick: from 8.8 % to
 * 48.8 %). It keeps 50.18 MB (quick: 25.25 and 165.15).
 * Quick: 60.0 and 55.0 % are right (chance is 33.3 %); 2.48 MB wait.
 */
const more = '(quick: 7.7)';
`;

test('what the head of an example says of a quick run is read from its brackets and its last sentence', () => {
  expect(expectedOf(source).map(({ value, percent }) => value + (percent ? '%' : ''))).toEqual([
    '8.8%',
    '48.8%',
    '25.25',
    '165.15',
    '60.0%',
    '55.0%',
    '2.48',
  ]);
});

test('bytes are held to the digit, percentages to five points', () => {
  const expected = expectedOf(source);
  const printed = 'from 8.8 % to 47.5 %; 25.25 MB, 165.15 MB; 60.0 % 55.0 %; 2.48 MB';
  expect(missingFrom(printed, expected)).toEqual([]);
  expect(missingFrom(printed.replace('165.15', '165.16'), expected)).toEqual(['165.15']);
  expect(missingFrom(printed.replace('2.48', '12.48'), expected)).toEqual(['2.48']);
  expect(missingFrom(printed.replace('2.48', '2148'), expected)).toEqual(['2.48']);
  expect(missingFrom(printed.replace('8.8 %', '2.0 %'), expected)).toEqual(['8.8 %']);
  expect(missingFrom('', expected)).toHaveLength(7);
});
