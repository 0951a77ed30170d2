import { groups } from "../en/groups";
import { addWords } from "../i18n";

addWords({ groups });
