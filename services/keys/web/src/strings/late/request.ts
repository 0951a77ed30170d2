import { request } from "../en/request";
import { addWords } from "../i18n";

addWords({ requests: request });
