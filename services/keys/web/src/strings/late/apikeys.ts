import { apiKeys } from "../en/apikeys";
import { addWords } from "../i18n";

addWords({ apiKeys });
