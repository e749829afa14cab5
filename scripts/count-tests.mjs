// Prints `N passed, N failed, N skipped` from vitest's JSON report. A file that failed before its first test counts as one failure.
// Fails if the report is missing or unreadable, if a test failed, or if none ran.
import { readFileSync } from 'node:fs';

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const brokenFiles = report.testResults.filter(
  (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
);
const failed = report.numFailedTests + brokenFiles.length;
const skipped = report.numPendingTests + report.numTodoTests;
for (const file of brokenFiles) console.log(`failed to load: ${file.name}\n${file.message}`);
console.log(`${report.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
if (failed > 0 || report.numPassedTests === 0) process.exitCode = 1;
