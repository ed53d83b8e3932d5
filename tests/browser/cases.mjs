// All cases, in the order of their lane's run.
import './case_tools.mjs';
import './case_names.mjs';
import './case_relay.mjs';
import './case_page.mjs';

export { CASES } from './harness.mjs';
