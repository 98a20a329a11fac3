// `ringcube sim` and `ringcube reproduce` over experiments made for the tests.
import { Command } from 'commander';
import { runProgram } from '../../src/cli/exit.js';
import { reproduceCommand } from '../../src/cli/reproduce-command.js';
import { simCommand } from '../../src/cli/sim-command.js';
import { CATALOGUE } from './made-experiments.js';

await runProgram(new Command('ringcube').exitOverride().addCommand(simCommand(CATALOGUE).exitOverride()).addCommand(reproduceCommand(CATALOGUE).exitOverride()));
